"""Finding the packets in a buffer of capture-file bytes: the two inner loops of `capture_file.py`.

pcap: a header of 16 bytes before each packet. pcapng: blocks of (type, length, body, length); the loop takes packet
blocks itself, steps over blocks it does not know, and hands the rare ones that change how packets are read (section
header, interface description, interface statistics) back to Python.
What comes out is where each packet's bytes lie in the buffer, its time in ns, its lengths and its interface.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lab.analysis import kept_memory
from lab.analysis.compiled import inlined, kernel
from lab.analysis.packet_records import big16, big32

# Why a loop ended.
MORE, FULL, RARE, BROKEN = range(4)

LARGEST_PACKET = 16 << 20
LARGEST_BLOCK = 64 << 20

SECTION_HEADER, INTERFACE_DESCRIPTION, OLD_PACKET = 0x0A0D0D0A, 1, 2
SIMPLE_PACKET, INTERFACE_STATISTICS, ENHANCED_PACKET = 3, 5, 6


class Frames(NamedTuple):
    """Where packets lie in a buffer: one place a packet, in the order of the file."""

    offset: npt.NDArray[np.int64]
    """First byte of the packet in the buffer."""
    t_ns: npt.NDArray[np.int64]
    captured: npt.NDArray[np.int64]
    """Bytes that the file holds of it."""
    original: npt.NDArray[np.int64]
    """Bytes it had on the wire."""
    interface: npt.NDArray[np.int64]
    """Row of `interfaces`."""


def frames_ring(turns: int, capacity: int) -> list[Frames]:
    """Make room for `capacity` packets several times, in one piece of memory."""
    fields = len(Frames._fields)
    memory = kept_memory.empty(turns * fields * capacity, np.int64)
    return [Frames(*columns) for columns in memory.reshape(turns, fields, capacity)]


INTERFACE = np.dtype(
    [
        ("linktype", np.int64),
        ("snaplen", np.int64),
        ("multiply", np.int64),
        ("divide", np.int64),
        ("binary_shift", np.int64),
        ("offset_ns", np.int64),
        ("capture", np.int64),
        ("packets", np.int64),
        ("first_ns", np.int64),
        ("last_ns", np.int64),
    ]
)
"""One interface: t_ns = ticks * multiply / divide + offset_ns; `binary_shift` for units of 2^-shift s, else -1.

`packets` were read of it so far, the earliest at `first_ns` and the latest at `last_ns` (`count_packets`).
"""


@inlined
def load16(buffer, at, big_endian):
    """The 16-bit number at `at`, in the byte order of the file's section."""
    if big_endian:
        return big16(buffer, at)
    place = np.uint64(at)
    return np.int64(buffer[place + np.uint64(1)]) << 8 | np.int64(buffer[place])


@inlined
def load32(buffer, at, big_endian):
    """The 32-bit number at `at`, in the byte order of the file's section."""
    if big_endian:
        return big32(buffer, at)
    return load16(buffer, at + 2, False) << 16 | load16(buffer, at, False)


@inlined
def nanoseconds(ticks, interface):
    """Turn a pcapng time stamp of any resolution into ns since the epoch."""
    shift = interface.binary_shift
    if shift < 0:
        return ticks * interface.multiply // interface.divide + interface.offset_ns
    seconds = np.int64(np.uint64(ticks) >> np.uint64(shift))
    fraction = ticks & ((1 << shift) - 1)
    if shift > 32:  # bits below 2^-32 s say nothing in ns, and would overflow the product
        fraction >>= shift - 32
        shift = 32
    return seconds * 1_000_000_000 + ((fraction * 1_000_000_000) >> shift) + interface.offset_ns


@kernel
def count_packets(frames, count, interfaces):
    """Count the packets of a batch for their interfaces: run by run of those of one."""
    start = 0
    while start < count:
        number, first_ns, last_ns = frames.interface[start], frames.t_ns[start], frames.t_ns[start]
        stop = start + 1
        while stop < count and frames.interface[stop] == number:
            first_ns = min(first_ns, frames.t_ns[stop])
            last_ns = max(last_ns, frames.t_ns[stop])
            stop += 1
        interface = interfaces[number]
        if interface.packets:
            first_ns, last_ns = min(first_ns, interface.first_ns), max(last_ns, interface.last_ns)
        interface.first_ns = first_ns
        interface.last_ns = last_ns
        interface.packets += stop - start
        start = stop


@kernel
def pcap_records(buffer, start, stop, big_endian, unit_ns, largest, frames, count):
    """Find packets of a classic pcap from `start`; returns (why it ended, packets found in all, where it ended)."""
    at = start
    capacity = frames.offset.size
    while True:
        if count == capacity:
            return FULL, count, at
        if at + 16 > stop:
            return MORE, count, at
        captured = load32(buffer, at + 8, big_endian)
        if captured > largest:
            return BROKEN, count, at
        if at + 16 + captured > stop:
            return MORE, count, at
        seconds = load32(buffer, at, big_endian)
        frames.offset[count] = at + 16
        frames.t_ns[count] = seconds * 1_000_000_000 + load32(buffer, at + 4, big_endian) * unit_ns
        frames.captured[count] = captured
        frames.original[count] = max(captured, load32(buffer, at + 12, big_endian))
        frames.interface[count] = 0
        count += 1
        at += 16 + captured


@kernel
def pcapng_records(buffer, start, stop, big_endian, interfaces, first, frames, count):
    """Find packets of a pcapng from `start`; returns (why it ended, packets found in all, where it ended).

    `interfaces[first:]` are those of the section. A block of a kind this loop does not know is stepped over.
    """
    at = start
    capacity = frames.offset.size
    while True:
        if count == capacity:
            return FULL, count, at
        if at + 12 > stop:
            return MORE, count, at
        kind = load32(buffer, at, big_endian)
        if kind in (SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS):
            return RARE, count, at
        length = load32(buffer, at + 4, big_endian)
        if length < 12 or length % 4 or length > LARGEST_BLOCK:
            return BROKEN, count, at
        if at + length > stop:
            return MORE, count, at
        if load32(buffer, at + length - 4, big_endian) != length:
            return BROKEN, count, at
        if kind in (ENHANCED_PACKET, OLD_PACKET):
            if length < 32:
                return BROKEN, count, at
            number = (
                load32(buffer, at + 8, big_endian) if kind == ENHANCED_PACKET else load16(buffer, at + 8, big_endian)
            )
            captured = load32(buffer, at + 20, big_endian)
            if first + number >= interfaces.size or captured > length - 32:
                return BROKEN, count, at
            interface = interfaces[first + number]
            ticks = load32(buffer, at + 12, big_endian) << 32 | load32(buffer, at + 16, big_endian)
            frames.offset[count] = at + 28
            frames.t_ns[count] = nanoseconds(ticks, interface)
            frames.captured[count] = captured
            frames.original[count] = max(captured, load32(buffer, at + 24, big_endian))
            frames.interface[count] = first + number
            count += 1
        elif kind == SIMPLE_PACKET:
            if length < 16 or first >= interfaces.size:
                return BROKEN, count, at
            interface = interfaces[first]
            original = load32(buffer, at + 8, big_endian)
            captured = min(original, length - 16)
            if interface.snaplen:
                captured = min(captured, interface.snaplen)
            frames.offset[count] = at + 12
            frames.t_ns[count] = 0  # a simple packet block carries no time
            frames.captured[count] = captured
            frames.original[count] = original
            frames.interface[count] = first
            count += 1
        at += length
