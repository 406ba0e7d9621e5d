"""Turn ring blocks, as the kernel laid them out, into pcapng's enhanced packet blocks.

In: one block of a ring (`ring.py`), where it stands. Out: the same packets as pcapng records, in the same order, with
nanoseconds, direction, and a VLAN tag that the kernel had set aside put back where it was on the wire.

This holds the one loop of the sidecar that runs once a packet, in pure Python, and it decides what a recording costs.
The kernel's record and pcapng's share the packet bytes and the two lengths:

    kernel: next sec nsec | captured length status offset .. vlan .. packet type | link address .. packet bytes
    pcapng: type size interface time time | captured length | packet bytes | padding flags size

Of a record only the time and the bytes are its own; all else follows from what stands between the bars, 47 bytes that
are equal for every packet of a kind (a bare acknowledgement coming in, a SYN going out, ...). So these bytes serve as
the key, and what follows from them (sizes, padding, flags, the packer) is worked out once a kind and looked up.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

from lab.inside.pcapng import ENHANCED_PACKET
from lab.inside.ring import BLOCK_HEADER

_OWN = struct.Struct("=III47s")
"""Bytes to the next record, sec, nsec, kind: struct tpacket3_hdr (48 bytes) and the start of struct sockaddr_ll."""
_KIND = struct.Struct("=IIIH6xIH20xB")
"""captured length, length, status, packet's offset; VLAN tag and protocol; and, at 48 + 10, sll_pkttype."""

_CSUM_NOT_READY = 1 << 3  # linux/if_packet.h
_VLAN_VALID = 1 << 4
_VLAN_TPID_VALID = 1 << 6
_ETH_P_8021Q = 0x8100
_MAC_ADDRESSES = 12  # a VLAN tag stands behind them

_DIRECTION_AND_RECEPTION = {
    0: 0b001_01,  # PACKET_HOST: inbound, unicast
    1: 0b011_01,  # PACKET_BROADCAST
    2: 0b010_01,  # PACKET_MULTICAST
    3: 0b100_01,  # PACKET_OTHERHOST: inbound, promiscuous: on the wire here, but for another host
    4: 0b000_10,  # PACKET_OUTGOING
}
"""epb_flags by sll_pkttype: bits 0-1 the direction, bits 2-4 the kind of reception (pcapng, section 4.3.1)."""
_FLAG_CSUM_NOT_READY = 1 << 9

_MOST_KINDS = 4096  # kinds kept before they are worked out anew: bounds memory whatever is on the wire

_Kind = tuple[int, int, Callable[..., None], bytes, bytes, bytes, int]
"""Where the packet starts and stops in the kernel's record; the packer; and for the record to make: what stands before
the time, between time and packet, and behind the packet; its size."""

Source = bytes | mmap.mmap
"""What blocks are read from. Not a memoryview: slices of these are bytes, which the packer wants."""


class Converter:
    """Converts blocks of one interface; keeps the kinds seen so far."""

    def __init__(self, interface: int, snaplen: int) -> None:
        """`interface`: its index in the file, by the order of the interface description blocks; `snaplen`: the most
        bytes of a packet that a record may have, which a VLAN tag put back must not exceed."""
        self._interface = interface
        self._snaplen = snaplen
        self._kinds: dict[bytes, _Kind] = {}

    def convert(self, source: Source, block_start: int, target: bytearray) -> tuple[int, int]:
        """Write the packets of the block at `block_start` in `source` to the beginning of `target`, in their order.

        Returns how many they are and how many bytes they take. A target of the block's size has the room: what
        pcapng adds to a packet is less than what the kernel does.
        """
        _status, packets, first, _used = BLOCK_HEADER.unpack_from(source, block_start)
        if len(self._kinds) > _MOST_KINDS:
            self._kinds.clear()
        kinds = self._kinds
        own = _OWN.unpack_from
        offset = block_start + first
        end = 0
        second = -1
        high = low_at_second = 0
        for _ in range(packets):
            stride, sec, nsec, key = own(source, offset)
            try:
                start, stop, pack, before, lengths, behind, size = kinds[key]
            except KeyError:
                kinds[key] = kind = self._work_out(key)
                start, stop, pack, before, lengths, behind, size = kind
            if sec != second:
                second = sec
                high, low_at_second = divmod(sec * 1_000_000_000, 1 << 32)
            low = low_at_second + nsec
            packet = source[offset + start : offset + stop]
            if low <= 0xFFFFFFFF:
                pack(target, end, before, high, low, lengths, packet, behind)
            else:
                pack(target, end, before, high + 1, low - 0x100000000, lengths, packet, behind)
            end += size
            offset += stride
        return packets, end

    def _work_out(self, key: bytes) -> _Kind:
        captured, length, status, start, tag, protocol, packet_type = _KIND.unpack(key)
        flags = _DIRECTION_AND_RECEPTION.get(packet_type, 0)
        if status & _CSUM_NOT_READY:
            flags |= _FLAG_CSUM_NOT_READY
        inserted = b""
        if status & _VLAN_VALID and captured >= _MAC_ADDRESSES:
            inserted = struct.pack("!HH", protocol if status & _VLAN_TPID_VALID else _ETH_P_8021Q, tag)
        data_bytes = min(captured + len(inserted), max(captured, self._snaplen))
        padding = -data_bytes % 4
        size = 28 + data_bytes + padding + 12 + 4
        before = struct.pack("=III", ENHANCED_PACKET, size, self._interface)
        lengths = struct.pack("=II", data_bytes, length + len(inserted))
        behind = bytes(padding) + struct.pack("=HHIII", 2, 4, flags, 0, size)  # epb_flags, opt_endofopt
        pack = struct.Struct(f"=12sII8s{data_bytes}s{len(behind)}s").pack_into
        if inserted:
            pack = _inserting(inserted, pack)
        return start, start + captured, pack, before, lengths, behind, size


def _inserting(tag: bytes, packer: Callable[..., None]) -> Callable[..., None]:
    """The packer for packets whose VLAN tag goes back behind the two MAC addresses."""

    def pack(
        target: bytearray, end: int, before: bytes, high: int, low: int, lengths: bytes, packet: bytes, behind: bytes
    ) -> None:
        tagged = packet[:_MAC_ADDRESSES] + tag + packet[_MAC_ADDRESSES:]
        packer(target, end, before, high, low, lengths, tagged, behind)

    return pack


_RECORD = struct.Struct("=4xIIII")
"""Of an enhanced packet block: its size, interface, time."""


def split(records: memoryview) -> list[bytes]:
    """Enhanced packet blocks one behind the other, each by itself."""
    found: list[bytes] = []
    at = 0
    while at < len(records):
        (size,) = struct.unpack_from("=I", records, at + 4)
        found.append(bytes(records[at : at + size]))
        at += size
    return found


def time_of(record: bytes | memoryview) -> int:
    """The time of an enhanced packet block, in nanoseconds since 1970."""
    _size, _interface, high, low = _RECORD.unpack_from(record)
    return int(high << 32 | low)


def time_of_last(records: memoryview) -> int:
    """The time of the last of several enhanced packet blocks: each ends with its size."""
    (size,) = struct.unpack_from("=I", records, len(records) - 4)
    return time_of(records[len(records) - size :])


def interface_of(record: bytes) -> int:
    """The index of the interface that an enhanced packet block names."""
    return int(_RECORD.unpack_from(record)[1])
