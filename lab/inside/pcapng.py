"""Blocks of a pcapng file, as bytes: section header, interface description, interface statistics.

In: facts about the machine, an interface, a recording. Out: bytes in this machine's byte order, which the section
header declares. The packet blocks, of which there are many, are made in `records.py` beside their source.

Format: draft-ietf-opsawg-pcapng (section 4 blocks, section 3.5 options). Times are nanoseconds since 1970, as two
32-bit words, the high one first; `if_tsresol` 9 says so.
"""

from __future__ import annotations

import posix
from _struct import pack

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_NANOSECONDS = 9  # if_tsresol: 10**-9 s

TYPE_CHECKING = False
if TYPE_CHECKING:
    Options = list[tuple[int, bytes]]


def section_header(application: str) -> bytes:
    """The first block of a file: who wrote it and where."""
    machine = posix.uname()
    options = [(2, machine.machine), (3, f"{machine.sysname} {machine.release}"), (4, application)]
    fields = pack("=IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)  # version 1.0; -1: section length not given
    return block(SECTION_HEADER, fields, [(code, text.encode()) for code, text in options])


def interface_description(name: str, linktype: int, snaplen: int, capture_filter: str) -> bytes:
    """Describe an interface; the first one described is interface 0 of the packets after it."""
    machine = posix.uname()
    options: Options = [(2, name.encode()), (9, bytes([_NANOSECONDS]))]
    if capture_filter:
        options.append((11, b"\0" + capture_filter.encode()))  # if_filter; 0: as libpcap text
    options.append((12, f"{machine.sysname} {machine.release}".encode()))  # if_os
    return block(INTERFACE_DESCRIPTION, pack("=HHI", linktype, 0, snaplen), options)


def interface_statistics(
    interface: int, *, received: int, dropped: int, written: int, start_ns: int, end_ns: int
) -> bytes:
    """Tell what interface number `interface` received and lost between two times (CLOCK_REALTIME).

    `received`: packets that passed the filter, the dropped ones included; `dropped`: lost for want of room in the
    ring; `written`: in the file. isb_ifrecv and isb_ifdrop carry the packet socket's two counters, as dumpcap has it,
    since those are the ones that readers show; isb_filteraccept and isb_osdrop carry the same under the names that say
    exactly what they count.
    """
    end = _time(end_ns)
    options: Options = [
        (2, _time(start_ns)),  # isb_starttime
        (3, end),  # isb_endtime
        (4, pack("=Q", received)),  # isb_ifrecv
        (5, pack("=Q", dropped)),  # isb_ifdrop
        (6, pack("=Q", received)),  # isb_filteraccept
        (7, pack("=Q", dropped)),  # isb_osdrop
        (8, pack("=Q", written)),  # isb_usrdeliv
    ]
    return block(INTERFACE_STATISTICS, pack("=I", interface) + end, options)


def block(kind: int, fields: bytes, options: Options) -> bytes:
    """Frame a block: type, length, fields, options padded to 32 bits and ended, length again."""
    packed = b"".join(pack("=HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options)
    body = fields + packed + (b"\0\0\0\0" if options else b"")
    length = pack("=I", 12 + len(body))
    return pack("=I", kind) + length + body + length


def _time(t_ns: int) -> bytes:
    return pack("=II", t_ns >> 32, t_ns & 0xFFFFFFFF)
