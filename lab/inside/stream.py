"""A capture file that is written while the traffic runs: ring blocks become pcapng records by machine code.

The shortest way of a packet: the kernel copies it into the ring, `ring_records.py` from there into a buffer that the
processor's cache holds, write(2) into the file. As in `spool.py` nothing is touched until more than `RELIEVED_ABOVE` of
the ring waits, and room in the file is asked for beforehand.

It is the way of one interface wherever the lab has left machine code of that loop; otherwise blocks are kept as they
are.

A cap bounds the file. Once a packet has been left out for it, all later ones are: what is kept is the beginning of the
traffic without a gap.
"""

from __future__ import annotations

import mmap
import posix

from lab.inside import machine_code, ring_records
from lab.inside.native import Memory
from lab.inside.spool import Kept, ask_for_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lab.inside.ring import Ring

_BLOCKS_AT_ONCE = 4


class Stream(Kept):
    """The file of one ring's packets, oldest first, of which the newest are still in the ring."""

    def __init__(self, ring: Ring, path: str, *, snaplen: int, max_bytes: int | None) -> None:
        """Load the code, and make the file. Raises machine_code.NoCode where there is none."""
        super().__init__(ring)
        self._max_bytes = max_bytes
        self._room: int | None = None
        """Bytes that the packets' records may take; None: as many as they like."""
        self._records = machine_code.load(ring_records.__file__, calls=ring_records.FUNCTIONS, arguments=5)
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - lives as long as the recording
        # Not an array: importing that module loads `collections`, which takes longer than all else here.
        self._it = it = memoryview(bytearray(8 * ring_records.SIZE)).cast("q")
        it[ring_records.SNAPLEN] = snaplen
        self._out = mmap.mmap(-1, _BLOCKS_AT_ONCE * ring.block_bytes)
        self._lent = [Memory.of(memory) for memory in (it, ring.memory, self._out)]
        it_at, ring_at, out_at = (memory.address for memory in self._lent)
        self._arguments = (it_at, ring_at, ring_at, out_at, out_at)

    def begin(self, before: bytes, behind: int) -> None:
        """Write what stands before the packets; so many bytes will stand behind them."""
        if self._max_bytes is not None:
            self._room = self._max_bytes - len(before) - behind
        self._write(memoryview(before))

    def end(self, behind: bytes) -> None:
        """Write what stands behind the packets."""
        self._write(memoryview(behind))

    def keep_rest(self) -> None:
        while ready := self._ring.ready(_BLOCKS_AT_ONCE):
            if not self.capped:
                end = self._convert(ready)
                with memoryview(self._out) as made:
                    ask_for_room(self._file, end)
                    self._write(made[:end])
                self.spooled_bytes += end
            self._ring.give_back(ready)

    def _convert(self, ready: list[tuple[int, int, int]]) -> int:
        """Make the records of some blocks, as many as there is room for; returns where they end in the buffer."""
        it, end = self._it, 0
        it[ring_records.MADE] = 0
        for start, packets, _used in ready:
            it[ring_records.START] = start
            self._records(*self._arguments)
            if self._room is not None and self.spooled_bytes + it[ring_records.MADE] > self._room:
                self.capped = True
                return self._fitting(end, self._room - self.spooled_bytes)
            if packets:
                self._count(packets, *self._ring.times(start))
            end = it[ring_records.MADE]
        return end

    def _fitting(self, at: int, room: int) -> int:
        """Count the records of a block, which begin at `at`, that end within the room; returns where they end."""
        from lab.inside.records import split, time_of  # only where a cap bites: they import `array` (above)

        with memoryview(self._out) as made:
            for record in split(made[at : self._it[ring_records.MADE]]):
                if at + len(record) > room:
                    break
                self._count(1, time_of(record), time_of(record))
                at += len(record)
        return at

    def _write(self, data: memoryview) -> None:
        """Add to the file, all of it: a system call may take less than it is given."""
        while data:
            data = data[posix.write(self._file.fileno(), data) :]
