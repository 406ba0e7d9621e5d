"""The closed load's commonest form as one tight loop: one small request at a time, answers of a known size.

The loop is what a C client would do: epoll_wait(2), read(2) and look at the answer of each ready connection, then
write(2) to each of them. First all reads, then all writes: with one kind of system call in a row its code, the kernel's
and the interpreter's, is still in the processor's caches, and an answer waits for fewer of its neighbours until it is
read. What Python adds is kept to a handful of bytecodes a message: counts and times gather in lists, and anything
unusual (a partial answer, a first answer, the last one, an error) leaves for `_Rare`.
"""

from __future__ import annotations

import select
import time

from .answers import KnownSizeAnswers
from .counters import INDEX
from .latency_log import BATCH, NEVER
from .phases import ClosedLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

SENT, RECEIVED, ANSWERED, UNANSWERED = INDEX["sent"], INDEX["received"], INDEX["answered"], INDEX["unanswered"]
BYTES_SENT, BYTES_RECEIVED = INDEX["bytes_sent"], INDEX["bytes_received"]
WRONG, SURPLUS = INDEX["wrong_answers"], INDEX["surplus_bytes"]

SMALL = 2048
"""Requests up to this size fit into an empty send buffer whole."""
FOREVER = (1 << 30) - 1
"""More messages than any connection gets to; the largest number that Python counts down in one machine word."""
NEVER_NS = 1 << 62
STARTS = 64
EVENTS = 256
REFRESH_NS = 5_000_000
"""How often counters are brought up to date, the clock is compared with the end, and the stop flag is read."""


def suits(worker: Worker, phase: ClosedLoad) -> bool:
    """Whether a closed load has the form this loop is for."""
    plain = phase.think_ns == 0 and phase.concurrency is None and phase.pipeline == 1
    return plain and isinstance(worker.answers, KnownSizeAnswers) and len(worker.request) <= SMALL


def run(worker: Worker, phase: ClosedLoad, start_ns: int, fds: list[int]) -> None:
    """Go through the phase on the open descriptors `fds`."""
    rare = _Rare(worker, phase, start_ns, fds)
    poll, read, write, clock = worker.connections.epoll.poll, worker.read, worker.write, time.monotonic_ns
    row, log, request, size = worker.row, worker.log, worker.request, len(worker.request)
    expected, answer_bytes, read_bytes = worker.right_answer, rare.answer_bytes, rare.answer_bytes + 1
    name, sent, left = rare.name, rare.sent, rare.left
    unchecked = expected is None
    names: list[int] = []
    sents: list[int] = []
    dones: list[int] = []
    while rare.goes_on():
        rare.begin_some()
        before, floor = len(dones), rare.floor
        now = clock()
        refresh = now + REFRESH_NS
        while now < refresh and rare.waiting and (ready := poll(rare.wait_s, EVENTS)):
            again = []
            for fd, _events in ready:
                try:
                    data = read(fd, read_bytes)
                except OSError as error:
                    rare.read_failed(fd, error)
                    continue
                now = clock()
                rest = left[fd] - 1
                if rest > floor and (data == expected or (unchecked and len(data) == answer_bytes)):
                    left[fd] = rest
                    dones.append(now)
                    again.append(fd)
                else:
                    rare.answer(fd, data, now)
            names += map(name.__getitem__, again)
            sents += map(sent.__getitem__, again)
            for fd in again:
                sent[fd] = clock()
                try:
                    if (written := write(fd, request)) != size:
                        rare.short(fd, written)
                except OSError as error:
                    rare.write_failed(fd, error)
            if rare.begins:
                break
        if count := len(dones) - before:
            row[SENT] += count
            row[RECEIVED] += count
            row[BYTES_SENT] += count * size
            row[BYTES_RECEIVED] += count * answer_bytes
            if len(dones) >= BATCH:
                log.extend(names, sents, dones)
                for gathered in (names, sents, dones):
                    gathered.clear()
    log.extend(names, sents, dones)
    rare.finish()


class _Rare:
    """Everything about the loop that does not happen with every message."""

    def __init__(self, worker: Worker, phase: ClosedLoad, start_ns: int, fds: list[int]) -> None:
        self._worker = worker
        self._connections = worker.connections
        self._row = worker.row
        self.answer_bytes = worker.answers.size if isinstance(worker.answers, KnownSizeAnswers) else 0
        self.messages = phase.messages if phase.messages is not None else FOREVER
        self.end = start_ns + phase.duration_ns if phase.duration_ns is not None else NEVER_NS
        self._give_up = self.end + phase.grace_ns
        # Lists, not arrays: an array makes a new int of each number read, at twice the time; these live for one phase.
        number, first = worker.connections.number, worker.plan.first_connection
        self.name = [number[fd] + first for fd in range(worker.connections.size)]
        """By descriptor: the connection's number in the fleet."""
        self.sent = [0] * worker.connections.size
        self.left = [0] * worker.connections.size
        """By descriptor: answers still wanted, the outstanding one included; 0: none is outstanding. Negative until the
        first answer is whole, and while the connection is in the middle of another one, or of a request that did not
        fit: the loop then leaves it to us."""
        self.floor = 0
        """What `left` must stay above in the middle of a load; FOREVER when the time is over."""
        self._unsent: dict[int, memoryview] = {}
        self._to_begin = fds
        self._begun = 0
        self.waiting = 0
        """Connections with a request outstanding."""
        self.begins = True
        """Whether some connections have not begun yet."""
        self.wait_s = 0.0
        self._connections.on_lost.append(self._lost)

    def goes_on(self) -> bool:
        if self._worker.stopping:
            return False
        now = time.monotonic_ns()
        if now >= self.end:
            self.floor = FOREVER
        return now < self._give_up and (self.waiting > 0 or self._begun < len(self._to_begin))

    def begin_some(self) -> None:
        """Send the first requests, some at a time, so that answers are not left lying meanwhile."""
        until = min(self._begun + STARTS, len(self._to_begin))
        while self._begun < until:
            fd = self._to_begin[self._begun]
            self._begun += 1
            if self._connections.number[fd] < 0:
                continue
            now = time.monotonic_ns()
            if now >= self.end:
                self._begun = len(self._to_begin)
                break
            self.left[fd] = -self.messages
            self.sent[fd] = now
            self.waiting += 1
            self._ask(fd)
        self.begins = self._begun < len(self._to_begin)
        self.wait_s = 0.0 if self.begins else 0.05

    def _ask(self, fd: int) -> None:
        """Send a request whose `sent` and `left` are set."""
        self._row[SENT] += 1
        self._row[BYTES_SENT] += len(self._worker.request)
        try:
            written = self._worker.write(fd, self._worker.request)
        except OSError as error:
            self.write_failed(fd, error)
            return
        if written < len(self._worker.request):
            self.short(fd, written)

    def short(self, fd: int, written: int) -> None:
        """Keep the rest of a request that the kernel, short of memory, did not take whole (it is counted as sent)."""
        self._unsent[fd] = memoryview(self._worker.request)[written:]
        self.left[fd] = -abs(self.left[fd])
        self._connections.epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def write_failed(self, fd: int, error: OSError) -> None:
        """Handle a request, already counted, of which nothing could be written."""
        if isinstance(error, BlockingIOError):
            self.short(fd, 0)
            return
        self._row[SENT] -= 1
        self._row[BYTES_SENT] -= len(self._worker.request)
        self._connections.lost(fd, error.errno or 0)

    def read_failed(self, fd: int, error: OSError) -> None:
        """Handle a failed read: nothing there but room to send, or the end of a connection."""
        if not isinstance(error, BlockingIOError):
            self._connections.lost(fd, error.errno or 0)
            return
        rest = self._unsent.get(fd)
        if rest is None:
            return
        try:
            rest = self._unsent[fd] = rest[self._worker.write(fd, rest) :]
        except BlockingIOError:
            return
        except OSError as broken:
            self._connections.lost(fd, broken.errno or 0)
            return
        if not rest:
            del self._unsent[fd]
            self.left[fd] = abs(self.left[fd])
            self._connections.epoll.modify(fd, select.EPOLLIN)

    def answer(self, fd: int, data: bytes, now: int) -> None:
        """Handle what was read wherever it is not simply the one whole answer in the middle of a load."""
        worker, row = self._worker, self._row
        if not data:
            self._connections.lost(fd, 0)
            return
        row[BYTES_RECEIVED] += len(data)
        number = self.name[fd]
        if not self.left[fd]:
            row[SURPLUS] += len(data)
            if fd not in worker.stalled:
                worker.note_wrong(number, data, "nothing was asked")
            return
        complete, wrong = worker.answers.take(fd, data)
        if wrong is not None:
            row[WRONG] += 1
            worker.note_wrong(number, wrong, "the answer differs")
        if not complete:
            self.left[fd] = -abs(self.left[fd])
            return
        if complete > 1:
            row[SURPLUS] += (complete - 1) * self.answer_bytes
            worker.note_wrong(number, data, "more answers than requests")
        worker.log.add(number, self.sent[fd], self.sent[fd], now)
        row[RECEIVED] += 1
        if not self._connections.answered[fd]:
            self._connections.answered[fd] = 1
            row[ANSWERED] += 1
        self.left[fd] = abs(self.left[fd]) - 1
        if self.left[fd] and now < self.end:
            self.sent[fd] = now
            self._ask(fd)
        else:
            self.left[fd] = 0
            self.waiting -= 1

    def _lost(self, fd: int) -> None:
        """Log the request of a connection that will never be answered."""
        if self.left[fd]:
            self.left[fd] = 0
            self.waiting -= 1
            self._never_answered(fd)
        self._unsent.pop(fd, None)

    def _never_answered(self, fd: int) -> None:
        self._worker.log.add(self.name[fd], self.sent[fd], self.sent[fd], NEVER)
        self._row[UNANSWERED] += 1
        self._worker.answers.forget(fd)

    def finish(self) -> None:
        """Log what is still unanswered; those connections rest from now on (`Worker.stalled`)."""
        for fd in self._to_begin[: self._begun]:
            if self.left[fd]:
                self._never_answered(fd)
                self._worker.stalled.add(fd)
        self._connections.on_lost.remove(self._lost)
