"""Room for what is remembered of connections, beyond memory: large arrays lie in temporary files mapped into memory.

A capture of ten million packets may hold a million connections, which take 720 bytes each until the end: any of them
may still get a packet, and its row needs what the capture's end tells. But nearly all are over and never touched
again. So an array that outgrows `LARGEST_IN_MEMORY` moves into a nameless temporary file, mapped: the loops see the
same records at the same places, while pages not touched lately are given back (`forget`), and come back from the file
when a late packet, or the tables at the end, ask for them. Where there is no room on disk, arrays stay in memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np

from lab.analysis import kept_memory
from lab.analysis.state import GROWING, State, room, with_room

LARGEST_IN_MEMORY = 64 << 20
"""Bytes in use from which on an array is kept in a file."""


class Spill:
    """The files of one pass. `close` when nothing grows any more; the arrays stay valid as long as they are held."""

    def __init__(self, largest_in_memory: int = LARGEST_IN_MEMORY) -> None:
        self._largest = largest_in_memory
        self._files: dict[str, int] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._no_room = not hasattr(os, "posix_fallocate")

    def room(self, state: State) -> int:
        """How many more packets may come until `with_room` has something to do, be it that an array outgrows memory."""
        in_memory = {} if self._no_room else {name: record for name, (record, _, _) in GROWING.items()}
        most = {name: self._largest // record.itemsize for name, record in in_memory.items() if name not in self._files}
        return room(state, most)

    def with_room(self, state: State, packets: int) -> State:
        """The same state with room for all that `packets` more packets may add, in memory or in files."""
        moved: dict[str, Any] = {}
        for name, (record, counter, each) in GROWING.items():
            array = getattr(state, name)
            used = int(state.counts[counter]) * (2 if name == "sides" else 1)
            wanted = used + packets * each
            in_file = name in self._files
            if self._no_room or used * record.itemsize <= self._largest or (in_file and wanted <= array.size):
                continue
            try:
                moved[name] = self._grown(name, wanted, record)
            except OSError:
                self._no_room = True  # `with_room` moves what has to grow (back) into memory
                continue
            if not in_file:
                moved[name][:used] = array[:used]
        return with_room(state._replace(**moved), packets)

    def _grown(self, name: str, wanted: int, record: Any) -> Any:
        """Map an array's file with room for at least `wanted` records; what is in the file stays.

        Raises OSError where the disk has no room: blocks are taken now, since later there would be a signal instead.
        """
        if name not in self._files:
            descriptor, path = tempfile.mkstemp(prefix="lab-analysis-")
            os.unlink(path)
            self._files[name] = descriptor
        size = (wanted + wanted // 4) * record.itemsize
        os.posix_fallocate(self._files[name], 0, size)
        self._maps[name] = mmap.mmap(self._files[name], size)
        return np.frombuffer(self._maps[name], record)

    def forget(self) -> None:
        """Give the pages of all files back to the system; they are read again when touched.

        Where there are files, memory counts: what is kept for arrays to come goes too.
        """
        for mapped in self._maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)
        if self._maps:
            kept_memory.forget()

    def close(self) -> None:
        """Close the files; their arrays stay mapped."""
        while self._files:
            os.close(self._files.popitem()[1])
