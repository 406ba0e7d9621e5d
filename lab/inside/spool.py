"""What a recording keeps before it becomes a capture file: blocks in the ring as long as they fit, the rest on disk.

The cheapest place for a block while traffic runs is where the kernel put it. So nothing is touched until more than half
of the ring waits; then all that is ready goes to a file, whole blocks and as they are. A run of ten thousand
connections fits into the ring and costs no copy and next to no processor time before the stop.

After the stop there are two ways on. By hand the blocks are converted from where they stand (`blocks`), and the file,
unlinked from the beginning, is gone with this process. In a run of the lab `keep_rest` adds to a file that stays what
still is in the ring, and the lab makes the capture file of it: compiled code does that at a hundredth of the time.

A cap bounds the disk: neither this file nor the one made of it grows above it. Once a packet has been left out, all
later ones are, so that what is kept is the beginning of the traffic without a gap.
"""

from __future__ import annotations

import mmap
import os
import struct

from lab.inside.ring import BLOCK_HEADER, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.inside.records import Source

_USED_BYTES = 3  # index in BLOCK_HEADER's fields
_LAST_TIME = struct.Struct("=40xII")
"""struct tpacket_block_desc: the time of its last packet. (What it calls the time of its first one is when the block
was opened.)"""
_RECORD = struct.Struct("=III")
"""struct tpacket3_hdr: bytes to the next record, 0 for a block's last one; seconds, nanoseconds."""


class Spool:
    """The blocks of one ring, oldest first, of which the newest are still in it."""

    def __init__(self, ring: Ring, path: str, *, max_bytes: int | None, stays: bool = False) -> None:
        """`stays`: whether the file is a result; else nothing is left of it however this process ends."""
        self._ring = ring
        self._max_bytes = max_bytes
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - lives as long as the recording
        if not stays:
            os.unlink(path)
        self.spooled_bytes = 0
        self.packets = 0
        """Packets in the file."""
        self.first_ns: int | None = None
        """Time of the first packet in the file; None without one."""
        self.last_ns: int | None = None
        self.capped = False
        """Whether packets were left out for the cap."""

    def relieve(self) -> None:
        """Move what is ready to disk if more than half of the ring waits."""
        if self._ring.more_than_half_waits():
            self.keep_rest()

    def keep_rest(self) -> None:
        """Move what is ready to disk."""
        with memoryview(self._ring.memory) as memory:
            for start, used in self._ring.take():
                if not self.capped:
                    self._keep(memory, start, used)

    def _keep(self, memory: memoryview, start: int, used: int) -> None:
        _status, packets, first, _used = BLOCK_HEADER.unpack_from(memory, start)
        if self._max_bytes is not None and self.spooled_bytes + used > self._max_bytes:
            self.capped = True
            self._keep_beginning(memory, start, packets, first, self._max_bytes - self.spooled_bytes)
            return
        self.spooled_bytes += self._file.write(memory[start : start + used])
        if packets:
            _next, *began = _RECORD.unpack_from(memory, start + first)
            self._count(packets, began, _LAST_TIME.unpack_from(memory, start))

    def _keep_beginning(self, memory: memoryview, start: int, packets: int, first: int, room: int) -> None:
        """Keep as many packets of a block as there is room for, as a block of its own."""
        times: list[tuple[int, int]] = []
        end = first
        while len(times) < packets:
            stride, *time = _RECORD.unpack_from(memory, start + end)
            if not stride or end + stride > room:
                break
            times.append((time[0], time[1]))
            end += stride
        if times:
            block = bytearray(memory[start : start + end])
            struct.pack_into("=III", block, 12, len(times), first, end)  # where BLOCK_HEADER has them
            self.spooled_bytes += self._file.write(block)
            self._count(len(times), times[0], times[-1])

    def _count(self, packets: int, first: Sequence[int], last: Sequence[int]) -> None:
        if self.first_ns is None:
            self.first_ns = first[0] * 1_000_000_000 + first[1]
        self.last_ns = last[0] * 1_000_000_000 + last[1]
        self.packets += packets

    def blocks(self) -> Iterator[tuple[Source, int]]:
        """Every block kept, in the order of the traffic: what it stands in, and where it starts there.

        Call it once, after the ring has drained. A block is there until the next one is asked for.
        """
        if self.spooled_bytes:
            with mmap.mmap(self._file.fileno(), self.spooled_bytes, prot=mmap.PROT_READ) as spooled:
                start = 0
                while start < self.spooled_bytes:
                    yield spooled, start
                    start += BLOCK_HEADER.unpack_from(spooled, start)[_USED_BYTES]
        for start, _used in self._ring.take():
            if not self.capped:
                yield self._ring.memory, start

    @property
    def block_bytes(self) -> int:
        """The most that one block takes."""
        return self._ring.block_bytes

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()
