"""The closed model: each connection asks again only after its answer and its think time.

A slow server slows its own load down. That is how a fixed crowd of users behaves, and why a closed load hides stalls:
while the server stands still nobody asks, so few messages see it. For latency under a set load take the open model
(`open_load.py`).
"""

from __future__ import annotations

import time
from array import array
from collections import deque

from . import closed_fast
from .connections import NOBODY
from .exchange import LOST, Exchange
from .phases import ClosedLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

FOREVER = 1 << 62
STARTS = 64
"""Requests begun before answers are looked at again: so many to begin must not delay those already coming in."""


def run(worker: Worker, phase: ClosedLoad, start_ns: int) -> None:
    fds = worker.active(phase.active_share)
    if closed_fast.suits(worker, phase):
        closed_fast.run(worker, phase, start_ns, fds)
        return
    with Exchange(worker, phase.pipeline) as exchange:
        _Closed(worker, phase, start_ns, fds, exchange).run()


class _Closed:
    """One closed load in any of its forms."""

    def __init__(self, worker: Worker, phase: ClosedLoad, start_ns: int, fds: list[int], exchange: Exchange) -> None:
        self._worker = worker
        self._phase = phase
        self._exchange = exchange
        self._end = start_ns + phase.duration_ns if phase.duration_ns is not None else FOREVER
        concurrency = phase.concurrency
        self._cap = len(fds) if concurrency is None else worker.plan.share(concurrency, worker.index)
        self._rotates = concurrency is not None or phase.think_ns > 0
        self._turns = deque((start_ns, fd) for fd in fds)
        """When each connection without a request in flight may ask, in that order."""
        self._busy = 0
        self._left = array("q", bytes(8 * worker.connections.size))
        for fd in fds:
            self._left[fd] = phase.messages if phase.messages is not None else FOREVER
        worker.connections.on_lost.append(self._lost)

    def run(self) -> None:
        worker, exchange = self._worker, self._exchange
        while not worker.stopping:
            now = time.monotonic_ns()
            asking = now < self._end and bool(self._turns)
            if not asking and not exchange.outstanding:
                break
            if not asking and now >= self._end + self._phase.grace_ns:
                break
            more = asking and self._begin(now)
            for fd, events in worker.poll(0 if more else None):
                if not exchange.waiting[fd]:
                    worker.idle_event(fd, events)
                    continue
                complete = exchange.event(fd, events)
                if complete > 0:
                    self._answered(fd, complete)
        worker.connections.on_lost.remove(self._lost)

    def _begin(self, now: int) -> bool:
        """Let connections ask whose turn has come; True if more could right now."""
        for _ in range(STARTS):
            if not self._turns or self._busy >= self._cap:
                return False
            due, fd = self._turns[0]
            if due > now:
                self._worker.timer.arm(min(due, self._end))
                return False
            self._turns.popleft()
            if self._worker.connections.number[fd] == NOBODY:
                continue
            self._busy += 1
            if self._phase.think_ns:
                self._worker.lateness.add(now - due)
            self._ask(fd, self._phase.pipeline, due if self._phase.think_ns else None)
        return True

    def _ask(self, fd: int, count: int, planned: int | None) -> None:
        for _ in range(min(count, self._left[fd])):
            self._left[fd] -= 1
            if self._exchange.begin(fd, planned) == LOST:
                return

    def _answered(self, fd: int, complete: int) -> None:
        now = time.monotonic_ns()
        if now < self._end and self._left[fd] and not self._rotates:
            self._ask(fd, complete, None)
        elif not self._exchange.waiting[fd]:
            self._busy -= 1
            if self._left[fd]:
                self._turns.append((now + self._phase.think_ns, fd))

    def _lost(self, fd: int) -> None:
        if self._exchange.waiting[fd]:
            self._busy -= 1
