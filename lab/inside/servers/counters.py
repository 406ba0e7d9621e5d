"""What a server counts, exactly, without a lock in its hot loop.

Whoever works (a process, a thread) adds to a `Counters` of its own, plain attributes that nobody else writes. A
process's total is the sum over its parts (`Tally`). Processes do not share memory, so each copies its total into a
row of a `Board`, memory shared by parent and children, twice a second and once at its end: a row has one writer, and
a reader sums rows.

Counts are of the application's own acts: `bytes_out` is what `send` took (in the library models: what the library
took).
"""

from __future__ import annotations

import mmap
import os
import struct
from _thread import allocate_lock  # `threading.Lock`, for a process that has no threads
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIELDS = (
    "accepted",
    "closed",
    "open_peak",
    "messages",
    "bytes_in",
    "bytes_out",
    "aborted",
    "vanished",
    "malformed",
    "refused",
    "truncated",
    "dropped",
    "send_errors",
    "accept_errors",
    "still_open_at_stop",
    "undrained",
)


class Counters:
    """One worker's counts since it started."""

    __slots__ = FIELDS

    accepted: int
    """Connections taken from the accept queue."""
    closed: int
    """Connections closed by this side, for whatever reason."""
    open_peak: int
    """Most connections open at the same time. Summed over several processes it is an upper bound: peaks need not
    coincide."""
    messages: int
    """Whole messages received; with UDP, datagrams."""
    bytes_in: int
    """Bytes received, framing included."""
    bytes_out: int
    """Bytes sent, framing included."""
    aborted: int
    """Connections that ended by the peer's reset (ECONNRESET on recv, ECONNRESET or EPIPE on send)."""
    vanished: int
    """Connections given up because the peer no longer answered (ETIMEDOUT, EHOSTUNREACH)."""
    malformed: int
    """Connections closed because the peer broke the framing."""
    refused: int
    """Connections accepted and closed at once, since the model cannot hold more (select's descriptor 1024)."""
    truncated: int
    """Datagrams longer than the recv size: their rest is lost (MSG_TRUNC)."""
    dropped: int
    """Datagrams the kernel threw away because the receive buffer was full (SO_MEMINFO)."""
    send_errors: int
    """Datagrams that could not be sent (EMSGSIZE, ...)."""
    accept_errors: int
    """Times accept failed for want of descriptors, memory, threads or processes (EMFILE, ENFILE, ENOBUFS, ENOMEM,
    EAGAIN)."""
    still_open_at_stop: int
    """Connections open at the moment the stop arrived."""
    undrained: int
    """Connections cut at the end of the drain: their peer would not take its answers in time."""

    def __init__(self) -> None:
        for field in FIELDS:
            setattr(self, field, 0)

    def opened(self, open_now: int | None = None) -> None:
        """Count a connection in; `open_now` where others than this worker close what it accepts."""
        self.accepted += 1
        open_now = self.accepted - self.closed if open_now is None else open_now
        if open_now > self.open_peak:
            self.open_peak = open_now

    @property
    def open(self) -> int:
        """Connections accepted and not closed yet."""
        return self.accepted - self.closed

    def values(self) -> tuple[int, ...]:
        return tuple(getattr(self, field) for field in FIELDS)

    def add(self, values: Iterable[int]) -> None:
        """Add another worker's `values()`."""
        for field, value in zip(FIELDS, values, strict=True):
            setattr(self, field, getattr(self, field) + value)

    def as_dict(self) -> dict[str, int]:
        return dict(zip(FIELDS, self.values(), strict=True))


class Board:
    """Rows of counters in memory that parent and children share; each row has one writer."""

    ROW = struct.Struct(f"{len(FIELDS)}q")

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        """Make a board, or with `descriptor` map the one another process made (spawned children inherit no memory)."""
        # A memfd rather than anonymous memory, so that a child that was executed afresh can map it too. Its pages cost
        # nothing until they are written.
        self.descriptor = os.memfd_create("counters") if descriptor is None else descriptor
        self.rows = rows
        if descriptor is None:
            os.ftruncate(self.descriptor, rows * self.ROW.size)
        self._memory = mmap.mmap(self.descriptor, rows * self.ROW.size)

    def store(self, row: int, counters: Counters) -> None:
        self.ROW.pack_into(self._memory, row * self.ROW.size, *counters.values())

    def load(self, row: int) -> tuple[int, ...]:
        return self.ROW.unpack_from(self._memory, row * self.ROW.size)

    def clear(self, row: int) -> None:
        self.ROW.pack_into(self._memory, row * self.ROW.size, *([0] * len(FIELDS)))


class Tally:
    """A process's counts: its main thread's, its other threads', and its child processes'."""

    def __init__(self) -> None:
        self.main = Counters()
        self._ended = Counters()
        self._lock = allocate_lock()
        self._threads: dict[int, Counters] = {}
        self.board: Board | None = None
        """Set once the process has children that count."""
        self.rows_in_use: set[int] = set()

    @contextmanager
    def part(self) -> Iterator[Counters]:
        """Count in a thread of its own."""
        mine = Counters()
        self._threads[id(mine)] = mine
        try:
            yield mine
        finally:
            with self._lock:
                self._ended.add(mine.values())
                del self._threads[id(mine)]

    def retire_row(self, row: int) -> None:
        """Keep a dead child's counts and free its row."""
        assert self.board is not None
        with self._lock:
            self._ended.add(self.board.load(row))
            self.rows_in_use.discard(row)
            self.board.clear(row)

    def own(self) -> Counters:
        """Sum of this process's parts; callable from a signal handler: without a lock, so maybe a moment behind."""
        whole = Counters()
        for part in (self.main, self._ended, *list(self._threads.values())):
            whole.add(part.values())
        return whole

    def total(self) -> Counters:
        """`own` and the children's."""
        whole = self.own()
        if self.board is not None:
            for row in list(self.rows_in_use):
                whole.add(self.board.load(row))
        return whole
