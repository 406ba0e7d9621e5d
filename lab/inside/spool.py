"""What a recording keeps before it becomes a capture file: blocks in the ring as long as they fit, the rest on disk.

The cheapest place for a block while traffic runs is where the kernel put it. So nothing is touched until more than
`RELIEVED_ABOVE` of the ring waits; then all that is ready goes to a file, whole blocks and as they are, several by one
system call. Little traffic thus costs no copy before the stop, and nearly the whole ring is free whenever this process
has to wait for a processor. Room in the file is asked for beforehand: where it is not, ext4 reserves it page by page.
(16 MB so: 4.0 ms; block by block and without asking: 6.8.)

After the stop there are two ways on. By hand the blocks are converted from where they stand (`blocks`), and the file,
unlinked from the beginning, is gone with this process. In a run of the lab `keep_rest` adds to a file that stays what
still is in the ring, and the lab makes the capture file of it: compiled code does that at a hundredth of the time.

A cap bounds the disk: neither this file nor the one made of it grows above it. Once a packet has been left out, all
later ones are, so that what is kept is the beginning of the traffic without a gap.
"""

from __future__ import annotations

import mmap
import posix
from _struct import pack_into

from lab.inside.ring import BLOCK_HEADER, RECORD, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from lab.inside.records import Source

RELIEVED_ABOVE = 1 / 8
"""Share of the ring. What is copied costs the same sooner or later, while each look at a ring that may be left costs a
wake-up (0.1 ms where the processor slept), and looks come the more often the less of it is free."""
_BLOCKS_AT_ONCE = 8
_FIRST, _USED_BYTES = 2, 3  # index in BLOCK_HEADER's fields


class Kept:
    """What is kept of one ring's packets, in whichever form: the oldest in a file, the newest still in the ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.spooled_bytes = 0
        """What the packets take in the file."""
        self.packets = 0
        """Packets in the file."""
        self.first_ns: int | None = None
        """Time of the first packet in the file; None without one."""
        self.last_ns: int | None = None
        self.capped = False
        """Whether packets were left out for the cap."""

    def relieve(self) -> float:
        """Move what is ready to disk if too much of the ring waits; returns the share that is free then."""
        if self._ring.share_waiting() > RELIEVED_ABOVE:
            self.keep_rest()
        return 1 - self._ring.share_waiting()

    def keep_rest(self) -> None:
        """Move what is ready to disk."""
        raise NotImplementedError

    def _count(self, packets: int, first_ns: int, last_ns: int) -> None:
        if self.first_ns is None:
            self.first_ns = first_ns
        self.last_ns = last_ns
        self.packets += packets


class Spool(Kept):
    """The blocks of one ring, oldest first, of which the newest are still in it."""

    def __init__(self, ring: Ring, path: str, *, max_bytes: int | None, stays: bool = False) -> None:
        """`stays`: whether the file is a result; else nothing is left of it however this process ends."""
        super().__init__(ring)
        self._max_bytes = max_bytes
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - lives as long as the recording
        if not stays:
            posix.unlink(path)

    def keep_rest(self) -> None:
        with memoryview(self._ring.memory) as memory:
            while ready := self._ring.ready(_BLOCKS_AT_ONCE):
                self._write([self._kept(memory, *block) for block in ready])
                self._ring.give_back(ready)

    def _kept(self, memory: memoryview, start: int, packets: int, used: int) -> memoryview:
        """Account for a block; what of it belongs into the file: all, or for a cap its beginning, or nothing."""
        nothing = memory[:0]
        if self.capped:
            return nothing
        if self._max_bytes is not None and self.spooled_bytes + used > self._max_bytes:
            self.capped = True
            first = BLOCK_HEADER.unpack_from(memory, start)[_FIRST]
            beginning = self._beginning(memory, start, packets, first, self._max_bytes - self.spooled_bytes)
            self.spooled_bytes += len(beginning)
            return memoryview(beginning)
        self.spooled_bytes += used
        if packets:
            self._count(packets, *self._ring.times(start))
        return memory[start : start + used]

    def _beginning(self, memory: memoryview, start: int, packets: int, first: int, room: int) -> bytearray:
        """As many packets of a block as there is room for, as a block of its own; empty where there is for none."""
        times: list[int] = []
        end = first
        while len(times) < packets:
            stride, seconds, nanoseconds = RECORD.unpack_from(memory, start + end)
            if not stride or end + stride > room:
                break
            times.append(seconds * 1_000_000_000 + nanoseconds)
            end += stride
        if not times:
            return bytearray()
        block = bytearray(memory[start : start + end])
        pack_into("=III", block, 12, len(times), first, end)  # where BLOCK_HEADER has them
        self._count(len(times), times[0], times[-1])
        return block

    def _write(self, parts: list[memoryview]) -> None:
        """Add to the file, all of it: a system call may take less than it is given."""
        descriptor, left = self._file.fileno(), sum(map(len, parts))
        ask_for_room(self._file, left)
        while left:
            taken = posix.writev(descriptor, parts)
            left -= taken
            while parts and taken >= len(parts[0]):
                taken -= len(parts.pop(0))
            if taken:
                parts[0] = parts[0][taken:]

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
        for start in self._ring.take():
            if not self.capped:
                yield self._ring.memory, start

    @property
    def block_bytes(self) -> int:
        """The most that one block takes."""
        return self._ring.block_bytes

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


def ask_for_room(file: FileIO, size: int) -> None:
    """Tell the file system how much will be written next."""
    if size:
        try:
            posix.posix_fallocate(file.fileno(), file.tell(), size)
        except OSError:
            return  # it only helps; where the disk is full, writing says so
