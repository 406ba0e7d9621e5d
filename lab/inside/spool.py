"""What a recording keeps before it becomes a file: blocks in the ring as long as they fit, the rest on disk.

The cheapest place for a block while traffic runs is where the kernel put it. So nothing is touched until more than half
of the ring waits; then all that is ready goes to a spool file, whole blocks and as they are. A run of ten thousand
connections fits into the ring and costs no copy and no processor time at all before the stop.

A cap bounds the disk: neither the spool nor the file made of it grows above it. Once a block has been left out, all
later ones are, so that what is kept is the beginning of the traffic without a gap.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from lab.inside.records import Source
from lab.inside.ring import BLOCK_HEADER, Ring

_USED_BYTES = 3  # index in BLOCK_HEADER's fields


class Spool:
    """The blocks of one ring, oldest first, of which the newest are still in it."""

    def __init__(self, ring: Ring, path: Path, *, max_bytes: int | None) -> None:
        self._ring = ring
        self._max_bytes = max_bytes
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - lives as long as the recording
        os.unlink(path)  # so that nothing is left behind however this process ends
        self.spooled_bytes = 0
        self.capped = False
        """Whether blocks were left out for the cap."""

    def relieve(self) -> None:
        """Move what is ready to disk if more than half of the ring waits."""
        if not self._ring.more_than_half_waits():
            return
        with memoryview(self._ring.memory) as memory:
            for start, used in self._ring.take():
                if self._max_bytes is not None and self.spooled_bytes + used > self._max_bytes:
                    self.capped = True
                if not self.capped:
                    self.spooled_bytes += self._file.write(memory[start : start + used])

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
