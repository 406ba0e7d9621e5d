"""Datagrams: numbered, stamped, sent at a set rate; what comes back tells which were lost, doubled or overtaken.

A datagram begins with 16 bytes in network order: its number in its flow (from 0, without gaps, all phases through)
and its send time in nanoseconds of CLOCK_MONOTONIC (the latency log's clock); the rest is the message's body. A flow
is a connected UDP socket, so that the kernel takes only its peer's datagrams, and hands on ICMP's "port unreachable"
as ECONNREFUSED: counted, and the flow goes on, since UDP has no connection that could break.

An answer brings its datagram's number back. Not seen before: it is logged, and *reordered* if a higher number of its
flow came earlier (RFC 4737). Seen before: *duplicated*. Shorter than what was sent: *truncated*. Never: *lost*, once
the phase has waited for its grace. Nothing is sent twice.
"""

from __future__ import annotations

import time
from collections import deque

from lab.inside.numbered import HEAD

from .connections import NOBODY
from .counters import INDEX, error_cell
from .latency_log import NEVER
from .pacing import Pace
from .phases import Burst, ClosedLoad, OpenLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .worker import Worker

SENT, RECEIVED, ANSWERED = INDEX["sent"], INDEX["received"], INDEX["answered"]
BYTES_SENT, BYTES_RECEIVED = INDEX["bytes_sent"], INDEX["bytes_received"]
UNANSWERED, WRONG, SURPLUS = INDEX["unanswered"], INDEX["wrong_answers"], INDEX["surplus_bytes"]
LOST, DUPLICATED, REORDERED, TRUNCATED = (INDEX[k] for k in ("lost", "duplicated", "reordered", "truncated"))
PLANNED, STARTED, NOT_STARTED = INDEX["planned"], INDEX["started"], INDEX["not_started"]

EVENTS = 64
STARTS = 64
FOREVER = 1 << 62


class Flows:
    """A worker's datagrams in flight, and how far each flow has come."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._row = worker.row
        self._next: dict[int, int] = {}
        """Descriptor -> number of the flow's next datagram."""
        self._highest: dict[int, int] = {}
        """Descriptor -> highest number that came back."""
        self.pending: dict[tuple[int, int], tuple[int, int]] = {}
        """(descriptor, number) -> planned, sent; in the order sent."""
        self._given_up: set[tuple[int, int]] = set()
        self.on_answer: Callable[[int], None] | None = None
        """Called with the descriptor for every answer to a datagram in flight."""

    def send(self, fd: int, planned: int | None) -> int:
        """Send one datagram that was due at `planned` (None: now); returns when."""
        row, request = self._row, self._worker.request
        number = self._next.get(fd, 0)
        sent = time.monotonic_ns()
        try:
            row[BYTES_SENT] += self._worker.write(fd, HEAD.pack(number, sent) + request[HEAD.size :])
        except OSError as error:  # what an earlier datagram met, or no room: this one was not sent
            row[error_cell(error.errno or 0)] += 1
            return sent
        row[SENT] += 1
        self._next[fd] = number + 1
        self.pending[fd, number] = (sent if planned is None else planned, sent)
        return sent

    def event(self, fd: int) -> None:
        """Take one datagram of a flow."""
        row, worker = self._row, self._worker
        if worker.connections.number[fd] == NOBODY:
            return
        try:
            data = worker.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            row[error_cell(error.errno or 0)] += 1
            return
        now = time.monotonic_ns()
        row[BYTES_RECEIVED] += len(data)
        self._check(fd, data)
        if len(data) < HEAD.size:
            return
        number = HEAD.unpack_from(data)[0]
        times = self.pending.pop((fd, number), None)
        if times is None:
            self._unexpected(fd, number, data)
            return
        highest = self._highest.get(fd, -1)
        if number < highest:
            row[REORDERED] += 1
        self._highest[fd] = max(number, highest)
        worker.log.add(self._name(fd), *times, now)
        row[RECEIVED] += 1
        if not worker.connections.answered[fd]:
            worker.connections.answered[fd] = 1
            row[ANSWERED] += 1
        if self.on_answer is not None:
            self.on_answer(fd)

    def _check(self, fd: int, data: bytes) -> None:
        """Count an answer that is cut short or differs from what was sent."""
        worker, message = self._worker, self._worker.plan.message
        wanted = message.answer_bytes if message.answer_bytes is not None else len(worker.request)
        if len(data) < wanted:
            self._row[TRUNCATED] += 1
        elif message.check == "echo" and data[HEAD.size :] != worker.request[HEAD.size :]:
            self._row[WRONG] += 1
            worker.note_wrong(self._name(fd), data, "the answer differs")

    def _unexpected(self, fd: int, number: int, data: bytes) -> None:
        if (fd, number) in self._given_up:
            self._given_up.discard((fd, number))  # too late: it stays lost
        elif number < self._next.get(fd, 0):
            self._row[DUPLICATED] += 1
        else:
            self._row[SURPLUS] += len(data)
            self._worker.note_wrong(self._name(fd), data, "nothing with this number was asked")

    def _name(self, fd: int) -> int:
        return self._worker.plan.first_connection + self._worker.connections.number[fd]

    def give_up(self, before_ns: int) -> list[int]:
        """Count as lost what was sent before `before_ns`; returns the flows of those datagrams."""
        flows = []
        while self.pending:
            key = next(iter(self.pending))
            planned, sent = self.pending[key]
            if sent >= before_ns:
                break
            del self.pending[key]
            self._given_up.add(key)
            self._row[LOST] += 1
            self._row[UNANSWERED] += 1
            self._worker.log.add(self._name(key[0]), planned, sent, NEVER)
            flows.append(key[0])
        return flows


def run_open(worker: Worker, phase: OpenLoad, start_ns: int) -> None:
    """Send at the set rate, flow after flow, whatever comes back."""
    pace = Pace(start_ns=start_ns, rate_per_s=phase.rate_per_s, worker=worker.index, workers=worker.plan.workers)
    fds = worker.active(phase.active_share)
    arrivals = pace.count_within(phase.duration_ns) if fds else 0
    worker.row[PLANNED] += arrivals
    following = 0
    while following < arrivals and not worker.stopping:
        due = pace.due_ns(following)
        if time.monotonic_ns() < due:
            worker.timer.arm(due)
            _take(worker, None)
            continue
        worker.lateness.add(worker.flows.send(fds[following % len(fds)], due) - due)
        worker.row[STARTED] += 1
        following += 1
        if following % STARTS == 0:
            _take(worker, 0)
    worker.row[NOT_STARTED] += arrivals - following
    _await_answers(worker, phase.grace_ns)


def run_closed(worker: Worker, phase: ClosedLoad, start_ns: int) -> None:
    """Send each flow's next datagram when the last one came back, or was given up for lost after the grace."""
    end = start_ns + phase.duration_ns if phase.duration_ns is not None else FOREVER
    fds = worker.active(phase.active_share)
    left = dict.fromkeys(fds, phase.messages if phase.messages is not None else FOREVER)
    turns = deque((start_ns, fd) for fd in fds for _ in range(min(phase.pipeline, left[fd])))
    worker.flows.on_answer = lambda fd: turns.append((time.monotonic_ns() + phase.think_ns, fd))
    cap = len(turns) if phase.concurrency is None else worker.plan.share(phase.concurrency, worker.index)
    while not worker.stopping:
        now = time.monotonic_ns()
        turns.extend((now, fd) for fd in worker.flows.give_up(now - phase.grace_ns))
        while turns and turns[0][0] <= now < end and len(worker.flows.pending) < cap:
            due, fd = turns.popleft()
            if left[fd]:
                left[fd] -= 1
                worker.flows.send(fd, due if phase.think_ns else None)
        if not worker.flows.pending and (now >= end or not turns):
            break
        if turns and len(worker.flows.pending) < cap:
            worker.timer.arm(min(turns[0][0], end))
        _take(worker, None)
    worker.flows.on_answer = None
    _await_answers(worker, phase.grace_ns)


def run_burst(worker: Worker, phase: Burst, start_ns: int) -> None:
    """Send each flow's datagrams back to back, or in rounds with the gap between them."""
    fds = worker.active(phase.active_share)
    if phase.gap_ns:
        for i in range(phase.messages):
            due = start_ns + i * phase.gap_ns
            while time.monotonic_ns() < due and not worker.stopping:
                worker.timer.arm(due)
                _take(worker, due)
            for fd in fds:
                worker.lateness.add(worker.flows.send(fd, due) - due)
    else:
        for fd in fds:
            for _ in range(phase.messages):
                worker.flows.send(fd, None)
            _take(worker, 0)
    _await_answers(worker, phase.grace_ns)


def _take(worker: Worker, until_ns: int | None) -> None:
    for fd, _events in worker.poll(until_ns, EVENTS):
        worker.flows.event(fd)


def _await_answers(worker: Worker, grace_ns: int) -> None:
    """Take what still comes back, and count the rest as lost."""
    until = time.monotonic_ns() + grace_ns
    while worker.flows.pending and time.monotonic_ns() < until and not worker.stopping:
        _take(worker, until)
    worker.flows.give_up(FOREVER)
