"""pcapng's enhanced packet blocks one by one: made by the interpreter, split, their times read.

What a sidecar that was started by hand needs where it cannot stream (`pcapng_file.py`).
"""

from __future__ import annotations

import mmap
import struct
from array import array

from lab.inside import ring_records

Source = bytes | mmap.mmap
"""What blocks are read from."""


class Converter:
    """Converts blocks of one interface."""

    def __init__(self, interface: int, snaplen: int) -> None:
        """`interface`: its index in the file, by the order of the interface description blocks."""
        self._it = array("q", bytes(8 * ring_records.SIZE))
        self._it[ring_records.INTERFACE], self._it[ring_records.SNAPLEN] = interface, snaplen

    def convert(self, source: Source, block_start: int, target: bytearray) -> tuple[int, int]:
        """Write the packets of the block at `block_start` in `source` to the beginning of `target`, in their order.

        Returns how many they are and how many bytes they take.
        """
        it = self._it
        it[ring_records.START], it[ring_records.MADE] = block_start, 0
        with (
            memoryview(source) as memory,
            memory.cast("I") as words,
            memoryview(target) as out,
            out.cast("I") as out_words,
        ):
            ring_records.write_records(None, it, memory, words, out, out_words)
        return it[ring_records.PACKETS], it[ring_records.MADE]


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
