"""Ring blocks, as the kernel laid them out, become pcapng's enhanced packet blocks: the loop over packets.

In: one block of a ring (`ring.py`), where it stands. Out: the same packets as pcapng records, in the same order, with
nanoseconds, direction, and a VLAN tag that the kernel had set aside put back where it was on the wire.

    kernel: next sec nsec | captured length status offset .. vlan .. packet type | link address .. packet bytes
    pcapng: type size interface time time | captured length | packet bytes | padding flags size

This file is read in two ways. The interpreter runs it as it stands; and the lab compiles the same text to machine code
(`lab/engines/machine_code.py`), which the sidecar loads where it has been left it (`machine_code.py`): 0.03 us a packet
for 5.

Format of the kernel's record: linux/if_packet.h, struct tpacket_block_desc (48 bytes), struct tpacket3_hdr (48 bytes)
and behind it struct sockaddr_ll. Of pcapng's: draft-ietf-opsawg-pcapng, section 4.3.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any

FUNCTIONS = ("memcpy",)
"""The C library's functions whose addresses machine code is lent as its `calls`."""
INTERFACE, SNAPLEN, START, MADE, PACKETS = range(5)
"""What `it` holds: the interface's index in the file, by the order of the interface description blocks; the most bytes
of a packet that a record may have, which a VLAN tag put back must not exceed; where the block starts in `memory`. And
what has been made: bytes that are in `out` (the next record goes behind them), packets of this block."""
SIZE = 5

# Numbers of the words of 32 bits: in the block's description, in a packet's record.
_PACKETS, _FIRST = 3, 4
_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _LENGTH, _STATUS, _OFFSETS, _TAG, _TAG_PROTOCOL = 0, 1, 2, 3, 4, 5, 6, 8, 9
_LOWER = 0 if sys.byteorder == "little" else 16
"""Where in a word that holds two numbers of 16 bits the one at the lower address is."""
_PACKET_TYPE = 48 + 10
"""The byte in a record that is sll_pkttype."""
_CSUM_NOT_READY, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
_ETH_P_8021Q = 0x8100
_MAC_ADDRESSES = 12
"""Bytes; a VLAN tag stands behind them."""
_ENHANCED_PACKET = 6
_AHEAD, _LINE = 1024, 64
"""How far behind a record, in bytes, what is asked for while it is worked on: three cache lines, six records later."""
_EPB_FLAGS = 2 | 4 << 16
"""The option's code and length."""
_FLAG_CSUM_NOT_READY = 1 << 9
_FLAGS = int.from_bytes((0b001_01, 0b011_01, 0b010_01, 0b100_01, 0b000_10), "little")
"""epb_flags by sll_pkttype, a byte each: bits 0-1 the direction, bits 2-4 the kind of reception (pcapng, section
4.3.1). To this host, broadcast, multicast: inbound; to another host: inbound too, promiscuous; sent: outbound."""


def copy(calls: Any, out: Any, target: int, memory: Any, source: int, size: int) -> None:
    """memcpy(3): bytes of `memory` from `source` on into `out` from `target` on."""
    del calls
    out[target : target + size] = memory[source : source + size]


def fetch(memory: Any, place: int) -> None:
    """Have a line that will be read soon brought into the cache: another processor has written it. The interpreter
    cannot."""
    del memory, place


def write_records(calls: Any, it: array[int] | memoryview, memory: Any, words: Any, out: Any, out_words: Any) -> None:
    """Append the packets of a block to `out`. What pcapng adds to a packet is less than what the kernel does: so much
    room as the block takes is enough.

    `memory` and `words` are the same bytes, by 8 and by 32 bits; so are `out` and `out_words`.
    """
    interface, snaplen, start, made = it[INTERFACE], it[SNAPLEN], it[START], it[MADE]
    packets = words[(start >> 2) + _PACKETS]
    record = start + words[(start >> 2) + _FIRST]
    for _ in range(packets):
        for line in range(3):
            fetch(memory, record + _AHEAD + line * _LINE)
        word = record >> 2
        t = words[word + _SECONDS] * 1_000_000_000 + words[word + _NANOSECONDS]
        captured, status = words[word + _CAPTURED], words[word + _STATUS]
        source = record + (words[word + _OFFSETS] >> _LOWER & 0xFFFF)
        kind = memory[record + _PACKET_TYPE]
        flags = _FLAGS >> 8 * kind & 0xFF if kind < 8 else 0
        if status & _CSUM_NOT_READY:
            flags |= _FLAG_CSUM_NOT_READY
        tag_bytes = 4 if status & _VLAN_VALID and captured >= _MAC_ADDRESSES else 0
        data = min(captured + tag_bytes, max(captured, snaplen))
        size = 44 + ((data + 3) & ~3)
        out_words[(made + size - 20) >> 2] = 0  # the padding, of which the packet's last bytes may take a part
        at = made >> 2
        out_words[at] = _ENHANCED_PACKET
        out_words[at + 1] = size
        out_words[at + 2] = interface
        out_words[at + 3] = t >> 32
        out_words[at + 4] = t & 0xFFFFFFFF
        out_words[at + 5] = data
        out_words[at + 6] = words[word + _LENGTH] + tag_bytes
        at = (made + size) >> 2
        if tag_bytes == 0:
            copy(calls, out, made + 28, memory, source, data)
        else:
            protocol = words[word + _TAG_PROTOCOL] >> _LOWER & 0xFFFF if status & _VLAN_TPID_VALID else _ETH_P_8021Q
            # As much of the tag as the snaplen leaves, zeros (padding) behind it.
            tag = (protocol << 16 | words[word + _TAG] & 0xFFFF) & -1 << 32 - 8 * min(data - _MAC_ADDRESSES, 4)
            behind = made + 28 + _MAC_ADDRESSES
            copy(calls, out, made + 28, memory, source, _MAC_ADDRESSES)
            out[behind] = tag >> 24 & 0xFF
            out[behind + 1] = tag >> 16 & 0xFF
            out[behind + 2] = tag >> 8 & 0xFF
            out[behind + 3] = tag & 0xFF
            copy(calls, out, behind + 4, memory, source + _MAC_ADDRESSES, max(data - _MAC_ADDRESSES - 4, 0))
        out_words[at - 4] = _EPB_FLAGS
        out_words[at - 3] = flags
        out_words[at - 2] = 0  # opt_endofopt
        out_words[at - 1] = size
        made += size
        record += words[word + _NEXT]
    it[MADE] = made
    it[PACKETS] = packets
