"""The connect phase: open this worker's connections at the set rate, a bounded number of them in flight.

connect(2) on a non-blocking socket returns at once with EINPROGRESS; the kernel sends SYN, and epoll reports EPOLLOUT
when SYN-ACK has come, or EPOLLERR with the reason in SO_ERROR when it will not. The bound on connects in flight keeps
the server's accept queue (at most `backlog` long) from overflowing: a SYN dropped there comes again only a second
later.
"""

from __future__ import annotations

import errno
import select
import time

from .connections import pending_error
from .counters import INDEX
from .latency_log import CONNECT, NEVER
from .pacing import Pace
from .phases import Connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

PLANNED, STARTED, NOT_STARTED = INDEX["planned"], INDEX["started"], INDEX["not_started"]


class Connecting:
    """Connects in flight; `base` is added to a connection's number here to give its number in the log."""

    def __init__(self, worker: Worker, base: int) -> None:
        self._worker = worker
        self._base = base
        self._timeout_ns = worker.plan.connect.timeout_ns
        self.in_flight: dict[int, tuple[int, int, int]] = {}
        """Descriptor -> connection, planned, sent; in the order begun, so the oldest is the first to time out."""

    def start(self, connection: int, planned: int | None) -> int | None:
        """Begin one connect; returns its descriptor, None if it failed at once."""
        sent = time.monotonic_ns()
        planned = sent if planned is None else planned
        try:
            fd = self._worker.connections.start(connection)
        except OSError:
            self._log(connection, planned, sent, NEVER)
            return None
        self.in_flight[fd] = (connection, planned, sent)
        return fd

    def event(self, fd: int, events: int) -> bool:
        """Handle what epoll reported of a connect in flight; True if the connection stands."""
        connection, planned, sent = self.in_flight.pop(fd)
        now = time.monotonic_ns()
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._worker.connections.abandon(fd, pending_error(fd) or errno.ECONNRESET)
            self._log(connection, planned, sent, NEVER)
            return False
        self._worker.connections.established(fd, connection)
        self._log(connection, planned, sent, now)
        return True

    def expire(self, now: int) -> None:
        """Give up the connects that have taken too long (or all, for `now` far ahead)."""
        while self.in_flight:
            fd = next(iter(self.in_flight))
            connection, planned, sent = self.in_flight[fd]
            if sent + self._timeout_ns > now:
                return
            del self.in_flight[fd]
            self._worker.connections.abandon(fd, errno.ETIMEDOUT)
            self._log(connection, planned, sent, NEVER)

    def abandon_all(self) -> None:
        """Close what is still connecting, as the fleet was told to stop."""
        for fd, (connection, planned, sent) in self.in_flight.items():
            self._worker.connections.abandon(fd, errno.ECANCELED)
            self._log(connection, planned, sent, NEVER)
        self.in_flight.clear()

    def _log(self, connection: int, planned: int, sent: int, done: int) -> None:
        self._worker.log.add(self._base + connection, planned, sent, done, CONNECT)


def run(worker: Worker, phase: Connect, start_ns: int) -> None:
    plan, row = worker.plan, worker.row
    connecting = Connecting(worker, plan.first_connection)
    numbers = plan.connections_of(worker.index)
    cap = plan.share(plan.connect.in_flight, worker.index)
    rate = plan.connect.rate_per_s
    pace = Pace(start_ns=start_ns, rate_per_s=rate, worker=worker.index, workers=plan.workers) if rate else None
    row[PLANNED] += len(numbers)
    following = 0
    free_since = start_ns
    while (following < len(numbers) or connecting.in_flight) and not worker.stopping:
        while following < len(numbers) and len(connecting.in_flight) < cap:
            due = pace.due_ns(following) if pace is not None else None
            now = time.monotonic_ns()
            if due is not None and due > now:
                worker.timer.arm(due)
                break
            if due is not None:
                worker.lateness.add(now - max(due, free_since))
            connecting.start(numbers[following], due)
            row[STARTED] += 1
            following += 1
        for fd, events in worker.poll():
            if fd in connecting.in_flight:
                if len(connecting.in_flight) == cap:
                    free_since = time.monotonic_ns()
                connecting.event(fd, events)
            else:
                worker.idle_event(fd, events)
        connecting.expire(time.monotonic_ns())
    connecting.abandon_all()
    row[NOT_STARTED] += len(numbers) - following
