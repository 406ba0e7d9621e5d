"""Requests in flight: begin one, take the bytes of its answer, log when it was planned, sent and done.

Each connection answers in the order it was asked, so the times of its outstanding requests form a queue; queues of a
fixed `depth` lie side by side in two arrays. Whatever a full send buffer does not take stays queued here and goes out
when epoll says so.
"""

from __future__ import annotations

import select
import time
from array import array

from .counters import INDEX
from .latency_log import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

SENT, RECEIVED, ANSWERED = INDEX["sent"], INDEX["received"], INDEX["answered"]
BYTES_SENT, BYTES_RECEIVED = INDEX["bytes_sent"], INDEX["bytes_received"]
UNANSWERED, WRONG, SURPLUS = INDEX["unanswered"], INDEX["wrong_answers"], INDEX["surplus_bytes"]

READ_BYTES = 65536
LOST = -1


class Exchange:
    """The requests of one phase. Use it as a context: leaving it logs what was never answered, and lets those
    connections rest (`Worker.stalled`)."""

    def __init__(self, worker: Worker, depth: int = 1, base: int | None = None) -> None:
        self._worker = worker
        self._row = worker.row
        self._connections = worker.connections
        self._number = worker.connections.number
        self._base = worker.plan.first_connection if base is None else base
        """Added to a connection's number here to give its number in the fleet."""
        self._depth = depth
        size = worker.connections.size
        self._planned = array("q", bytes(8 * size * depth))
        self._sent = array("q", bytes(8 * size * depth))
        self._oldest = array("q", bytes(8 * size))
        self.waiting = array("q", bytes(8 * size))
        """By descriptor: requests sent and not yet answered."""
        self.outstanding = 0
        """The sum of `waiting`."""
        self._unsent: dict[int, memoryview] = {}
        self.interest = select.EPOLLIN
        """What epoll watches connections for beside room to send; 0 while answers shall not be read."""

    def __enter__(self) -> Exchange:
        self._connections.on_grow.append(self._grow)
        self._connections.on_lost.append(self._lost)
        return self

    def __exit__(self, *_error: object) -> None:
        for fd in range(len(self.waiting)):
            if self.waiting[fd]:
                self._lost(fd)
                self._worker.stalled.add(fd)
        self._connections.on_grow.remove(self._grow)
        self._connections.on_lost.remove(self._lost)

    def _grow(self, size: int) -> None:
        more = size - len(self.waiting)
        for column in (self._planned, self._sent):
            column.extend(array("q", bytes(8 * more * self._depth)))
        for column in (self._oldest, self.waiting):
            column.extend(array("q", bytes(8 * more)))

    def begin(self, fd: int, planned: int | None) -> int:
        """Send one request that was due at `planned` (None: now); returns when, or LOST if the connection is gone.

        At most `depth` requests of a connection may be waiting.
        """
        worker = self._worker
        slot = fd * self._depth + (self._oldest[fd] + self.waiting[fd]) % self._depth
        sent = time.monotonic_ns()
        self._sent[slot] = sent
        self._planned[slot] = sent if planned is None else planned
        self.waiting[fd] += 1
        self.outstanding += 1
        if fd in self._unsent:
            self._unsent[fd] = memoryview(bytes(self._unsent[fd]) + worker.request)
            return sent
        try:
            count = worker.write(fd, worker.request)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._connections.lost(fd, error.errno or 0)
            return LOST
        self._row[BYTES_SENT] += count
        if count == len(worker.request):
            self._row[SENT] += 1
        else:
            self._unsent[fd] = memoryview(worker.request)[count:]
            self._connections.epoll.modify(fd, self.interest | select.EPOLLOUT)
        return sent

    def event(self, fd: int, events: int) -> int:
        """Handle what epoll reported of a connection; returns how many answers completed, LOST if it is gone."""
        if events & select.EPOLLOUT and fd in self._unsent and not self._send_rest(fd):
            return LOST
        if events & ~select.EPOLLOUT:
            return self.take(fd, READ_BYTES)
        return 0

    def _send_rest(self, fd: int) -> bool:
        rest = self._unsent[fd]
        try:
            count = self._worker.write(fd, rest)
        except BlockingIOError:
            return True
        except OSError as error:
            self._connections.lost(fd, error.errno or 0)
            return False
        self._row[BYTES_SENT] += count
        size = len(self._worker.request)
        self._row[SENT] += -(-len(rest) // size) - -(-(len(rest) - count) // size)
        if count == len(rest):
            del self._unsent[fd]
            self._connections.epoll.modify(fd, self.interest)
        else:
            self._unsent[fd] = rest[count:]
        return True

    def take(self, fd: int, most: int) -> int:
        """Read at most `most` bytes of a connection; returns how many answers they complete, LOST if it is gone."""
        try:
            data = self._worker.read(fd, most)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._connections.lost(fd, error.errno or 0)
            return LOST
        if not data:
            self._connections.lost(fd, 0)
            return LOST
        return self.took(fd, data, time.monotonic_ns())

    def took(self, fd: int, data: bytes, now: int) -> int:
        """Account for bytes already read."""
        worker, row = self._worker, self._row
        row[BYTES_RECEIVED] += len(data)
        if not self.waiting[fd]:
            row[SURPLUS] += len(data)
            worker.note_wrong(self._base + self._number[fd], data, "nothing was asked")
            return 0
        complete, wrong = worker.answers.take(fd, data)
        if wrong is not None:
            row[WRONG] += 1
            worker.note_wrong(self._base + self._number[fd], wrong, "the answer differs")
        surplus = complete - self.waiting[fd]
        if surplus > 0:
            row[SURPLUS] += surplus * len(data) // complete
            worker.note_wrong(self._base + self._number[fd], data, "more answers than requests")
            complete -= surplus
        for _ in range(complete):
            slot = fd * self._depth + self._oldest[fd] % self._depth
            worker.log.add(self._base + self._number[fd], self._planned[slot], self._sent[slot], now)
            self._oldest[fd] += 1
        if complete:
            self.waiting[fd] -= complete
            self.outstanding -= complete
            row[RECEIVED] += complete
            if not self._connections.answered[fd]:
                self._connections.answered[fd] = 1
                row[ANSWERED] += 1
        return complete

    def _lost(self, fd: int) -> None:
        """Log the requests of a connection that will never be answered."""
        number = self._base + self._number[fd]
        for i in range(self.waiting[fd]):
            slot = fd * self._depth + (self._oldest[fd] + i) % self._depth
            self._worker.log.add(number, self._planned[slot], self._sent[slot], NEVER)
        self._row[UNANSWERED] += self.waiting[fd]
        self.outstanding -= self.waiting[fd]
        self.waiting[fd] = 0
        self._oldest[fd] = 0
        self._unsent.pop(fd, None)
        self._worker.answers.forget(fd)
