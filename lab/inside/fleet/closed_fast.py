"""The closed load's commonest form: one small request at a time, answers of a known size.

`hot_loop.py` has all that happens with every message; here is what does not: to begin, to end, to keep the counters
and the log up to date, and whatever is unusual about an answer or a request.
"""

from __future__ import annotations

import errno
import os
import select
import time
from array import array
from functools import cache, partial

from lab.inside import loop_calls, machine_code
from lab.inside.loop_calls import MOST_EVENT_BYTES, Calls

from . import hot_loop as loop
from . import latency_log
from .answers import KnownSizeAnswers
from .counters import INDEX
from .latency_log import BATCH, NEVER, WORDS
from .phases import ClosedLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .worker import Worker

SENT, RECEIVED, ANSWERED, UNANSWERED = INDEX["sent"], INDEX["received"], INDEX["answered"], INDEX["unanswered"]
BYTES_SENT, BYTES_RECEIVED = INDEX["bytes_sent"], INDEX["bytes_received"]
WRONG, SURPLUS = INDEX["wrong_answers"], INDEX["surplus_bytes"]

SMALL = 2048
"""Requests up to this size fit into an empty send buffer whole."""
FOREVER = 1 << 62
"""More messages than any connection gets to, and a later time."""
STARTS = 64
REFRESH_NS = 5_000_000
"""How often counters are brought up to date, the clock is compared with the end, and the stop flag is read."""
WAIT_MS = 50
"""How long the loop waits for events: the stop flag is read that often where nothing happens."""


@cache
def hot_loop_code() -> tuple[Callable[..., None] | None, str]:
    """The loop as machine code, if there is any; and what runs it, in words."""
    texts = (loop.__file__, loop_calls.__file__, latency_log.__file__)
    return machine_code.load_or_none(*texts, calls=loop_calls.FUNCTIONS, arguments=10)


def suits(worker: Worker, phase: ClosedLoad) -> bool:
    """Whether a closed load has the form this loop is for."""
    plain = phase.think_ns == 0 and phase.concurrency is None and phase.pipeline == 1
    return plain and isinstance(worker.answers, KnownSizeAnswers) and len(worker.request) <= SMALL


def run(worker: Worker, phase: ClosedLoad, start_ns: int, fds: list[int]) -> None:
    """Go through the phase on the open descriptors `fds`."""
    memory = Memory(worker)
    rare = _Rare(worker, phase, start_ns, fds, memory)
    it, go_on = memory.it, memory.runner()
    while rare.goes_on():
        rare.begin_some()
        it[loop.FLOOR], it[loop.NOW_NS] = rare.floor, 0
        # While some have still to begin, one batch: any time at all is later than the 1.
        it[loop.UNTIL_NS] = 1 if rare.begins else time.monotonic_ns() + REFRESH_NS
        while True:
            # Even with nobody left to wait for, the loop finishes its batch.
            it[loop.WAIT_MS] = WAIT_MS if rare.waiting and not rare.begins else 0
            go_on()
            outcome, fd, count = it[loop.OUTCOME], it[loop.FD], it[loop.COUNT]
            if outcome == loop.UNUSUAL_READ:
                if count < 0:
                    rare.read_failed(fd, -count)
                else:
                    rare.answer(fd, bytes(memory.buffer[:count]), it[loop.NOW_NS])
            elif outcome == loop.UNUSUAL_WRITE:
                if count < 0:
                    rare.write_failed(fd, -count)
                else:
                    rare.short(fd, count)
            else:
                break
        if outcome == loop.QUIET and count not in (0, -errno.EINTR):
            raise OSError(-count, os.strerror(-count))
        memory.account()
    memory.spill()
    rare.finish()


class Memory:
    """What the loop works on, and what runs it: machine code, or the interpreter."""

    def __init__(self, worker: Worker) -> None:
        assert isinstance(worker.answers, KnownSizeAnswers)
        self._worker = worker
        self.answer_bytes = worker.answers.size
        size, number, first = worker.connections.size, worker.connections.number, worker.plan.first_connection
        self.it = it = array("q", [0]) * loop.SIZE
        self.names = array("q", [number[fd] + first for fd in range(size)])
        self.sent = array("q", [0]) * size
        self.left = array("q", [0]) * size
        """Answers still wanted, the outstanding one included; 0: none is outstanding. Negative until the first answer
        is whole, and while the connection is in the middle of another one, or of a request that did not fit: the loop
        then leaves it to us."""
        self._again = array("q", [0]) * loop.EVENTS
        self.records = array("q", [0]) * (WORDS * (BATCH + loop.EVENTS))
        """What the loop has written of answers, `it[RECORDED]` numbers."""
        self._counted = 0
        self.buffer: bytearray | array[int]
        """What was read last."""
        it[loop.EPOLL] = worker.connections.epoll.fileno()
        it[loop.REQUEST], it[loop.ANSWER] = len(worker.request), self.answer_bytes
        it[loop.PHASE], it[loop.KIND] = worker.log.phase, worker.log.kind
        it[loop.FULL] = WORDS * BATCH

    def runner(self) -> Callable[[], object]:
        """Return what goes on with the loop when called; in the interpreter where a boundary log must see each call."""
        worker = self._worker
        arrays = (self.it, self.left, self.names, self.sent, self._again, self.records)
        code, _why = hot_loop_code()
        if code is None or worker.tap is not None:
            calls = Calls(worker.connections.epoll.poll, worker.read, worker.write)
            self.buffer = buffer = bytearray(self.answer_bytes + 1)
            return partial(loop.hot_loop, calls, *arrays, [], buffer, worker.right_answer, worker.request)
        self.buffer = array("B", bytes(self.answer_bytes + 1))
        self._events = array("B", bytes(loop.EVENTS * MOST_EVENT_BYTES))
        addresses = [memory.buffer_info()[0] for memory in (*arrays, self._events, self.buffer)]
        return partial(code, *addresses, worker.right_answer, worker.request)

    def account(self) -> None:
        """Bring the counters up to date, and write out the records where they are many."""
        recorded, row = self.it[loop.RECORDED] // WORDS, self._worker.row
        count = recorded - self._counted
        row[SENT] += count
        row[RECEIVED] += count
        row[BYTES_SENT] += count * self.it[loop.REQUEST]
        row[BYTES_RECEIVED] += count * self.answer_bytes
        self._counted = recorded
        if recorded >= BATCH:
            self.spill()

    def spill(self) -> None:
        """Write out the records."""
        self._worker.log.extend(memoryview(self.records)[: self.it[loop.RECORDED]])
        self.it[loop.RECORDED] = self._counted = 0


class _Rare:
    """Everything about the load that does not happen with every message."""

    def __init__(self, worker: Worker, phase: ClosedLoad, start_ns: int, fds: list[int], memory: Memory) -> None:
        self._worker = worker
        self._connections = worker.connections
        self._row = worker.row
        self._names, self._sent, self._left = memory.names, memory.sent, memory.left
        self._answer_bytes = memory.answer_bytes
        self._messages = phase.messages if phase.messages is not None else FOREVER
        self._end = start_ns + phase.duration_ns if phase.duration_ns is not None else FOREVER
        self._give_up = self._end + phase.grace_ns
        self.floor = 0
        """What `left` must stay above in the middle of a load; FOREVER when the time is over."""
        self._unsent: dict[int, memoryview] = {}
        self._to_begin = fds
        self._begun = 0
        self.waiting = 0
        """Connections with a request outstanding."""
        self.begins = True
        """Whether some connections have not begun yet."""
        self._connections.on_lost.append(self._lost)

    def goes_on(self) -> bool:
        if self._worker.stopping:
            return False
        now = time.monotonic_ns()
        if now >= self._end:
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
            if now >= self._end:
                self._begun = len(self._to_begin)
                break
            self._left[fd] = -self._messages
            self._sent[fd] = now
            self.waiting += 1
            self._ask(fd)
        self.begins = self._begun < len(self._to_begin)

    def _ask(self, fd: int) -> None:
        """Send a request whose `sent` and `left` are set."""
        self._row[SENT] += 1
        self._row[BYTES_SENT] += len(self._worker.request)
        try:
            written = self._worker.write(fd, self._worker.request)
        except OSError as error:
            self.write_failed(fd, error.errno or 0)
            return
        if written < len(self._worker.request):
            self.short(fd, written)

    def short(self, fd: int, written: int) -> None:
        """Keep the rest of a request that the kernel, short of memory, did not take whole (it is counted as sent)."""
        self._unsent[fd] = memoryview(self._worker.request)[written:]
        self._left[fd] = -abs(self._left[fd])
        self._connections.epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def write_failed(self, fd: int, number: int) -> None:
        """Handle a request, already counted, of which nothing could be written; `number` is the errno."""
        if number == errno.EAGAIN:
            self.short(fd, 0)
            return
        self._row[SENT] -= 1
        self._row[BYTES_SENT] -= len(self._worker.request)
        self._connections.lost(fd, number)

    def read_failed(self, fd: int, number: int) -> None:
        """Handle a failed read: nothing there but room to send, or the end of a connection."""
        if number != errno.EAGAIN:
            self._connections.lost(fd, number)
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
            self._left[fd] = abs(self._left[fd])
            self._connections.epoll.modify(fd, select.EPOLLIN)

    def answer(self, fd: int, data: bytes, now: int) -> None:
        """Handle what was read wherever it is not simply the one whole answer in the middle of a load."""
        worker, row = self._worker, self._row
        if not data:
            self._connections.lost(fd, 0)
            return
        row[BYTES_RECEIVED] += len(data)
        number = self._names[fd]
        if not self._left[fd]:
            row[SURPLUS] += len(data)
            if fd not in worker.stalled:
                worker.note_wrong(number, data, "nothing was asked")
            return
        complete, wrong = worker.answers.take(fd, data)
        if wrong is not None:
            row[WRONG] += 1
            worker.note_wrong(number, wrong, "the answer differs")
        if not complete:
            self._left[fd] = -abs(self._left[fd])
            return
        if complete > 1:
            row[SURPLUS] += (complete - 1) * self._answer_bytes
            worker.note_wrong(number, data, "more answers than requests")
        worker.log.add(number, self._sent[fd], self._sent[fd], now)
        row[RECEIVED] += 1
        if not self._connections.answered[fd]:
            self._connections.answered[fd] = 1
            row[ANSWERED] += 1
        self._left[fd] = abs(self._left[fd]) - 1
        if self._left[fd] and now < self._end:
            self._sent[fd] = now
            self._ask(fd)
        else:
            self._left[fd] = 0
            self.waiting -= 1

    def _lost(self, fd: int) -> None:
        """Log the request of a connection that will never be answered."""
        if self._left[fd]:
            self._left[fd] = 0
            self.waiting -= 1
            self._never_answered(fd)
        self._unsent.pop(fd, None)

    def _never_answered(self, fd: int) -> None:
        self._worker.log.add(self._names[fd], self._sent[fd], self._sent[fd], NEVER)
        self._row[UNANSWERED] += 1
        self._worker.answers.forget(fd)

    def finish(self) -> None:
        """Log what is still unanswered; those connections rest from now on (`Worker.stalled`)."""
        for fd in self._to_begin[: self._begun]:
            if self._left[fd]:
                self._never_answered(fd)
                self._worker.stalled.add(fd)
        self._connections.on_lost.remove(self._lost)
