"""The raw latency log of one worker: `latency-<worker>.bin`, every message's times in nanoseconds, nothing rounded.

The file, all little endian:

    header   64 bytes   8s magic "LABLAT01"; int64 worker, record size (48), CLOCK_MONOTONIC and CLOCK_REALTIME as
                        read together (the anchor: realtime = time - monotonic + realtime); zeros to 64
    record   48 bytes   six int64: connection, phase, kind, planned, sent, done

`connection` is its number in the fleet, `phase` the index in the plan, `kind` 0 message, 1 connect, 2 probe.
`planned` is when it was due, `sent` just before send(2) or connect(2), `done` when the whole answer was read or the
connect had succeeded; all CLOCK_MONOTONIC. `done` is -1 where that never came.

Hot loops fill `connection`, `planned`, `sent`, `done` at `at` and move `at` on; at `BATCH` they call `spill`. Columns
become records by slice assignment, at the speed of C. Beyond the bound given, records are not kept but counted.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from pathlib import Path

MAGIC = b"LABLAT01"
HEADER = struct.Struct("<8sqqqq24x")
RECORD = struct.Struct("<qqqqqq")
MESSAGE, CONNECT, PROBE = 0, 1, 2
NEVER = -1
BATCH = 4096
"""Records gathered before a write: 192 KiB, about 0.1 ms of work."""

CHURN_BASE = 1 << 32
"""Short connections of churn phases are numbered from here, apart from those the fleet holds open."""


class LatencyLog:
    """The records of one worker."""

    def __init__(self, folder: Path, worker: int, most: int) -> None:
        self.at = 0
        self.connection = array("q", bytes(8 * BATCH))
        self.planned = array("q", bytes(8 * BATCH))
        self.sent = array("q", bytes(8 * BATCH))
        self.done = array("q", bytes(8 * BATCH))
        self.phase = 0
        self._kind = MESSAGE
        self._kinds = array("q", bytes(8 * BATCH))
        self.planned_as_sent = False
        """True: whoever fills the columns leaves `planned` alone, as each message was planned for when it was sent."""
        self.kept = 0
        self.not_kept = 0
        self._most = most
        self._records = array("q", bytes(RECORD.size * BATCH))
        self.monotonic_ns, self.realtime_ns = time.monotonic_ns(), time.time_ns()
        self._file = os.open(
            folder / f"latency-{worker}.bin", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
        )
        _write(self._file, HEADER.pack(MAGIC, worker, RECORD.size, self.monotonic_ns, self.realtime_ns))

    def begin(self, phase: int, kind: int = MESSAGE) -> None:
        """Say what the following records belong to."""
        self.spill()
        self.phase, self._kind, self.planned_as_sent = phase, kind, False
        self._kinds = array("q", [kind]) * BATCH

    def add(self, connection: int, planned: int, sent: int, done: int, kind: int | None = None) -> None:
        """Append one record, of the kind that `begin` named unless said otherwise."""
        at = self.at
        self._kinds[at] = self._kind if kind is None else kind
        self.connection[at] = connection
        self.planned[at] = planned
        self.sent[at] = sent
        self.done[at] = done
        self.at = at + 1
        if self.at == BATCH:
            self.spill()

    def spill(self) -> None:
        """Write out what is gathered."""
        count = min(self.at, self._most - self.kept)
        self.not_kept += self.at - count
        self.at = 0
        if count == 0:
            return
        records = self._records if count == BATCH else array("q", bytes(RECORD.size * count))
        records[0::6] = self.connection[:count]
        records[1::6] = array("q", [self.phase]) * count
        records[2::6] = self._kinds[:count]
        records[3::6] = (self.sent if self.planned_as_sent else self.planned)[:count]
        records[4::6] = self.sent[:count]
        records[5::6] = self.done[:count]
        if sys.byteorder == "big":
            records = array("q", records)
            records.byteswap()
        _write(self._file, records.tobytes())
        self.kept += count

    def close(self) -> None:
        self.spill()
        os.close(self._file)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
