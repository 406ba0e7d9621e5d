"""The churn phase: short connections at a set rate, beside those held open: connect, exchange messages, close.

It costs the server an accept(2) and a close(2) for every few messages, and the active closer a port in TIME-WAIT for
a minute: with close style `fin` a fleet runs out of ports at some 470 a second and source address (28,232 ports / 60
s), which the result shows as EADDRNOTAVAIL; `rst` leaves no TIME-WAIT.
"""

from __future__ import annotations

import time

from .connect import Connecting
from .counters import INDEX
from .drain import Closing
from .exchange import Exchange
from .latency_log import CHURN_BASE
from .pacing import Pace
from .phases import Churn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

PLANNED, STARTED, NOT_STARTED = INDEX["planned"], INDEX["started"], INDEX["not_started"]


def run(worker: Worker, phase: Churn, start_ns: int) -> None:
    _Churning(worker, phase, start_ns).run()


class _Churning:
    def __init__(self, worker: Worker, phase: Churn, start_ns: int) -> None:
        plan = worker.plan
        self._worker = worker
        self._phase = phase
        self._end = start_ns + phase.duration_ns
        self._cap = plan.share(plan.connect.in_flight, worker.index)
        self._pace = Pace(start_ns=start_ns, rate_per_s=phase.rate_per_s, worker=worker.index, workers=plan.workers)
        self._arrivals = self._pace.count_within(phase.duration_ns)
        self._following = 0
        self._free_since = start_ns
        self._over = False
        """The time is over, and what was due before that and found room has begun."""
        self._left: dict[int, int] = {}
        """Descriptor -> messages still to exchange, of the short connections that stand."""
        self._connecting = Connecting(worker, CHURN_BASE)
        self._closing = Closing(worker)

    def run(self) -> None:
        worker, row = self._worker, self._worker.row
        row[PLANNED] += self._arrivals
        worker.connections.on_lost.append(self._lost)
        with Exchange(worker, base=CHURN_BASE) as exchange, self._closing:
            while not worker.stopping:
                now = time.monotonic_ns()
                if not self._over:
                    self._begin(now)
                    self._over = now >= self._end
                if self._over and not self._busy():
                    break
                if now >= self._end + self._phase.grace_ns:
                    break
                for fd, events in worker.poll():
                    self._event(fd, events, exchange)
                self._connecting.expire(time.monotonic_ns())
                self._closing.expire()
            for fd in list(self._left):
                worker.connections.gave_up(fd)
            self._connecting.abandon_all()
        row[NOT_STARTED] += self._arrivals - self._following
        worker.connections.on_lost.remove(self._lost)

    def _busy(self) -> int:
        return len(self._connecting.in_flight) + len(self._left) + len(self._closing)

    def _begin(self, now: int) -> None:
        """Begin the connections that are due, and set the timer for the next."""
        worker = self._worker
        while self._following < self._arrivals and self._busy() < self._cap:
            due = self._pace.due_ns(self._following)
            if due > now:
                worker.timer.arm(due)
                return
            worker.lateness.add(now - max(due, self._free_since))
            connection = worker.index + self._following * worker.plan.workers
            self._connecting.start(connection, due)
            worker.row[STARTED] += 1
            self._following += 1
            now = time.monotonic_ns()
        worker.timer.arm(self._end if now < self._end else self._end + self._phase.grace_ns)

    def _event(self, fd: int, events: int, exchange: Exchange) -> None:
        full = self._busy() >= self._cap
        if fd in self._connecting.in_flight:
            if self._connecting.event(fd, events):
                self._left[fd] = self._phase.messages
                self._next(fd, exchange)
        elif fd in self._left:
            if exchange.waiting[fd] and exchange.event(fd, events) <= 0:
                return
            self._next(fd, exchange)
        elif not self._closing.event(fd):
            self._worker.idle_event(fd, events)
        if full and self._busy() < self._cap:
            self._free_since = time.monotonic_ns()

    def _next(self, fd: int, exchange: Exchange) -> None:
        """Ask again, or close after the last answer."""
        if self._left[fd]:
            self._left[fd] -= 1
            exchange.begin(fd, None)
        else:
            del self._left[fd]
            self._closing.begin(fd)

    def _lost(self, fd: int) -> None:
        self._left.pop(fd, None)
