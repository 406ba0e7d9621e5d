"""The rare blocks of a pcapng file, one function a kind: section header, interface description, interface statistics.

Packet blocks are the business of `records.py`, which is compiled; these come a few times a file and are read in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.analysis.records import LARGEST_BLOCK

BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPTION_END = 0
IF_NAME, IF_TSRESOL, IF_FILTER, IF_OS, IF_TSOFFSET = 2, 9, 11, 12, 14
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP, ISB_FILTERACCEPT, ISB_OSDROP = 2, 3, 4, 5, 6, 7


class BlockBroken(Exception):
    """A block contradicts itself; the reader adds file and offset."""


@dataclass(kw_only=True)
class Interface:
    """One captured interface: what the file says of it. Statistics come in at the end of the file."""

    linktype: int
    """LINKTYPE_ number, e.g. 1 for Ethernet, 113 and 276 for Linux cooked captures."""
    snaplen: int
    """Bytes kept of each packet at most; 0 = no limit."""
    name: str | None = None
    filter: str | None = None
    os: str | None = None
    multiply: int = 1
    divide: int = 1
    binary_shift: int = -1
    offset_ns: int = 0
    received: int | None = None
    """Packets the recorder says it saw (isb_ifrecv); None = not told."""
    dropped: int | None = None
    """Packets it says it lost; None = not told."""
    began_ns: int | None = None
    ended_ns: int | None = None
    """When it began to record and when it ended (isb_starttime, isb_endtime); None = not told."""

    def time_ns(self, stamp: bytes, order: str) -> int | None:
        """A time stamp, whose upper 32 bits come first in either byte order, as ns since 1970; None for one that 64
        bits cannot hold. Those of packets are the business of `records.nanoseconds`, which Python cannot call."""
        upper, lower = struct.unpack(order + "II", stamp)
        ticks = upper << 32 | lower
        scaled = ticks * self.multiply // self.divide if self.binary_shift < 0 else ticks * 10**9 >> self.binary_shift
        time_ns = int(scaled + self.offset_ns)
        return time_ns if -(1 << 63) <= time_ns < 1 << 63 else None


def _order(big_endian: bool) -> str:
    return ">" if big_endian else "<"


def kind_of(head: bytes, *, big_endian: bool) -> int:
    """The block's type."""
    return int(struct.unpack_from(_order(big_endian) + "I", head)[0])


def length_of(head: bytes, *, big_endian: bool) -> int | None:
    """The block's length by its first 12 bytes, None if it cannot be; a section header brings its byte order."""
    if head[:4] == b"\x0a\x0d\x0d\x0a":
        magic = head[8:12]
        if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            return None
        big_endian = magic == b"\x1a\x2b\x3c\x4d"
    length = int(struct.unpack_from(_order(big_endian) + "I", head, 4)[0])
    return length if 12 <= length <= LARGEST_BLOCK and length % 4 == 0 else None


def _check_trailer(block: bytes, order: str) -> None:
    head, tail = struct.unpack_from(order + "I", block, 4)[0], struct.unpack_from(order + "I", block, len(block) - 4)[0]
    if head != tail:
        raise BlockBroken(f"the block's length at its end must equal the one at its start, got {tail} and {head}")


def section_byte_order(block: bytes) -> bool:
    """Whether the section is big-endian."""
    big_endian = block[8:12] == b"\x1a\x2b\x3c\x4d"
    if len(block) < 28:
        raise BlockBroken(f"a section header has at least 28 bytes, got {len(block)}")
    _check_trailer(block, _order(big_endian))
    major = struct.unpack_from(_order(big_endian) + "H", block, 12)[0]
    if major != 1:
        raise BlockBroken(f"pcapng version 1 is known, got {major}")
    return big_endian


def _options(block: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield (code, value) of the options from `at`; ends quietly where they run out of the block."""
    end = len(block) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", block, at)
        if code == OPTION_END or at + 4 + length > end:
            return
        yield code, block[at + 4 : at + 4 + length]
        at += 4 + length + (-length % 4)


def read_interface(block: bytes, *, big_endian: bool) -> Interface:
    """Read an interface description block."""
    order = _order(big_endian)
    if len(block) < 20:
        raise BlockBroken(f"an interface description has at least 20 bytes, got {len(block)}")
    _check_trailer(block, order)
    linktype, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    interface = Interface(linktype=linktype, snaplen=snaplen)
    resolution = 6
    for code, value in _options(block, 16, order):
        if code == IF_NAME:
            interface.name = value.decode("utf-8", "replace")
        elif code == IF_FILTER and value:
            interface.filter = value[1:].decode("utf-8", "replace")
        elif code == IF_OS:
            interface.os = value.decode("utf-8", "replace")
        elif code == IF_TSRESOL and len(value) == 1:
            resolution = value[0]
        elif code == IF_TSOFFSET and len(value) == 8:
            seconds = struct.unpack(order + "q", value)[0]
            interface.offset_ns = max(-(1 << 33), min(1 << 33, seconds)) * 1_000_000_000
    if resolution & 0x80:
        interface.binary_shift = min(resolution & 0x7F, 62)
    elif resolution <= 9:
        interface.multiply = 10 ** (9 - resolution)
    else:
        interface.divide = 10 ** min(resolution - 9, 18)
    return interface


def read_statistics(block: bytes, interfaces: Sequence[Interface], *, big_endian: bool) -> None:
    """Take an interface statistics block into the interface it is about (later blocks replace earlier ones).

    isb_ifdrop counts what the interface lost and isb_osdrop what the operating system lost, but recorders know one
    number (libpcap's `ps_drop`, a packet socket's `tp_drops`) and write it under either name, some (ours too) under
    both: their sum would count one loss twice. The greater of the two were lost for certain.
    """
    order = _order(big_endian)
    if len(block) < 24:
        raise BlockBroken(f"interface statistics have at least 24 bytes, got {len(block)}")
    _check_trailer(block, order)
    number = struct.unpack_from(order + "I", block, 8)[0]
    if number >= len(interfaces):
        raise BlockBroken(f"interface statistics for interface {number}, but the section describes {len(interfaces)}")
    told = {code: value for code, value in _options(block, 20, order) if len(value) == 8}
    counters = {code: struct.unpack(order + "Q", value)[0] for code, value in told.items()}
    interface = interfaces[number]
    if ISB_STARTTIME in told:
        interface.began_ns = interface.time_ns(told[ISB_STARTTIME], order)
    if ISB_ENDTIME in told:
        interface.ended_ns = interface.time_ns(told[ISB_ENDTIME], order)
    if ISB_IFRECV in counters:
        interface.received = counters[ISB_IFRECV]
    if ISB_IFDROP in counters or ISB_OSDROP in counters:
        interface.dropped = max(counters.get(ISB_IFDROP, 0), counters.get(ISB_OSDROP, 0))
