"""A capture file that is written while the traffic runs: ring blocks become pcapng records by machine code.

The shortest way of a packet: the kernel copies it into the ring, `ring_records.py` from there into a buffer that the
processor's cache holds, write(2) into the file. As in `spool.py` nothing is touched until more than `RELIEVED_ABOVE` of
the ring waits, and room in the file is asked for beforehand.

It is the way wherever the lab has left machine code of that loop, of one interface and without a cap; otherwise blocks
are kept as they are.
"""

from __future__ import annotations

import mmap
import posix

from lab.inside import machine_code, ring_records
from lab.inside.native import Memory
from lab.inside.spool import RELIEVED_ABOVE, ask_for_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lab.inside.ring import Ring

_BLOCKS_AT_ONCE = 4


class Stream:
    """The file of one ring's packets, oldest first, of which the newest are still in the ring."""

    def __init__(self, ring: Ring, path: str, snaplen: int) -> None:
        """Load the code, and make the file. Raises machine_code.NoCode where there is none."""
        self._records = machine_code.load(ring_records.__file__, calls=ring_records.FUNCTIONS, arguments=5)
        self._ring = ring
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - lives as long as the recording
        # Not an array: importing that module loads `collections`, which takes longer than all else here.
        self._it = it = memoryview(bytearray(8 * ring_records.SIZE)).cast("q")
        it[ring_records.SNAPLEN] = snaplen
        self._out = mmap.mmap(-1, _BLOCKS_AT_ONCE * ring.block_bytes)
        self._lent = [Memory.of(memory) for memory in (it, ring.memory, self._out)]
        it_at, ring_at, out_at = (memory.address for memory in self._lent)
        self._arguments = (it_at, ring_at, ring_at, out_at, out_at)
        self.spooled_bytes = 0
        """Bytes of packets' records in the file."""
        self.packets = 0
        self.first_ns: int | None = None
        """Time of the first packet in the file; None without one."""
        self.last_ns: int | None = None
        self.capped = False

    def write(self, data: bytes) -> None:
        """Add what stands before the packets, or behind them."""
        self._write(memoryview(data))

    def relieve(self) -> float:
        """Move what is ready to the file if too much of the ring waits; returns the share that is free then."""
        if self._ring.share_waiting() > RELIEVED_ABOVE:
            self.keep_rest()
        return 1 - self._ring.share_waiting()

    def keep_rest(self) -> None:
        """Move what is ready to the file."""
        it = self._it
        while ready := self._ring.ready(_BLOCKS_AT_ONCE):
            it[ring_records.MADE] = 0
            for start, packets, _used in ready:
                it[ring_records.START] = start
                self._records(*self._arguments)
                if packets:
                    first_ns, self.last_ns = self._ring.times(start)
                    self.first_ns = first_ns if self.first_ns is None else self.first_ns
                self.packets += packets
            with memoryview(self._out) as made:
                ask_for_room(self._file, it[ring_records.MADE])
                self._write(made[: it[ring_records.MADE]])
            self.spooled_bytes += it[ring_records.MADE]
            self._ring.give_back(ready)

    def _write(self, data: memoryview) -> None:
        """Add to the file, all of it: a system call may take less than it is given."""
        while data:
            data = data[posix.write(self._file.fileno(), data) :]
