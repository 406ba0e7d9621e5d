"""The raw latency log of one worker: `latency-<worker>.bin`, every message's times in nanoseconds, nothing rounded.

The file, all little endian:

    header   64 bytes   8s magic "LABLAT01"; int64 worker, record size (48), CLOCK_MONOTONIC and CLOCK_REALTIME as
                        read together (the anchor: realtime = time - monotonic + realtime); zeros to 64
    record   48 bytes   six int64: connection, phase, kind, planned, sent, done

`connection` is its number in the fleet, `phase` the index in the plan, `kind` 0 message, 1 connect, 2 probe.
`planned` is when it was due, `sent` just before send(2) or connect(2), `done` when the whole answer was read or the
connect had succeeded; all CLOCK_MONOTONIC. `done` is -1 where that never came.

Records stand in no particular order. They gather in lists, one a column (appending an int to a list takes half the
time of storing it into an array), and turn into records in batches, by slice assignment at the speed of C. Beyond the
bound given, records are not kept but counted.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"LABLAT01"
HEADER = struct.Struct("<8sqqqq24x")
RECORD = struct.Struct("<qqqqqq")
WORDS = RECORD.size // 8
"""Numbers in a record."""
MESSAGE, CONNECT, PROBE = 0, 1, 2
NEVER = -1
WORD = "l" if struct.calcsize("l") == 8 else "q"
"""An int64 to `struct`: as a C long, where that has 64 bits, it takes half the time of a long long."""
BATCH = 512
"""Records gathered before a write: few enough to stay in the processor's cache."""

CHURN_BASE = 1 << 32
"""Short connections of churn phases are numbered from here, apart from those the fleet holds open."""


class LatencyLog:
    """The records of one worker."""

    def __init__(self, folder: str | Path, worker: int, most: int) -> None:
        self.phase = 0
        self.kept = 0
        self.not_kept = 0
        self.kind = MESSAGE
        self._most = most
        self._columns: tuple[list[int], ...] = ([], [], [], [], [])
        self._connection, self._kinds, self._planned, self._sent, self._done = (c.append for c in self._columns)
        self.monotonic_ns, self.realtime_ns = time.monotonic_ns(), time.time_ns()
        self._file = os.open(
            os.path.join(folder, f"latency-{worker}.bin"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
        )
        _write(self._file, HEADER.pack(MAGIC, worker, RECORD.size, self.monotonic_ns, self.realtime_ns))

    def begin(self, phase: int, kind: int = MESSAGE) -> None:
        """Say what the following records belong to."""
        self.spill()
        self.phase, self.kind = phase, kind

    def add(self, connection: int, planned: int, sent: int, done: int, kind: int | None = None) -> None:
        """Append one record, of the kind that `begin` named unless said otherwise."""
        self._connection(connection)
        self._kinds(self.kind if kind is None else kind)
        self._planned(planned)
        self._sent(sent)
        self._done(done)
        if len(self._columns[0]) >= BATCH:
            self.spill()

    def extend(self, records: memoryview) -> None:
        """Write out many records at once, given as their numbers one after the other."""
        count = min(len(records) // WORDS, self._most - self.kept)
        self.not_kept += len(records) // WORDS - count
        self.kept += count
        if sys.byteorder == "big":
            swapped = array("q", records)
            swapped.byteswap()
            records = memoryview(swapped)
        _write(self._file, records[: count * WORDS].cast("B"))

    def spill(self) -> None:
        """Write out what is gathered."""
        count = len(self._columns[0])
        if count == 0:
            return
        connection, kinds, planned, sent, done = self._columns
        records = array("q", bytes(RECORD.size * count))
        # Numbers become machine words by struct: an array takes half as long again for each.
        pack = struct.Struct(f"{count}{WORD}").pack
        for place, column in ((0, connection), (2, kinds), (3, planned), (4, sent), (5, done)):
            records[place::WORDS] = array("q", pack(*column))
            column.clear()
        records[1::WORDS] = array("q", [self.phase]) * count
        self.extend(memoryview(records))

    def close(self) -> None:
        self.spill()
        os.close(self._file)


def _write(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
