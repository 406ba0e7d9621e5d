"""The drain phase: close every connection, the way the plan says.

`fin` is close(2): the kernel sends FIN and finishes the handshake of the end by itself. `rst` sets SO_LINGER to 0
first: the kernel sends RST, and neither side keeps TIME-WAIT. `half` is shutdown(SHUT_WR), then reading on until the
peer's FIN has come: the only one of the three that knows that the peer closed too. Data left unread makes close(2)
send RST instead of FIN, so whatever has arrived is read first.
"""

from __future__ import annotations

import errno
import time

from .connections import NOBODY, abort_on_close, half_close
from .counters import INDEX, error_cell
from .pacing import Pace
from .phases import Drain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

PLANNED, STARTED, NOT_STARTED = INDEX["planned"], INDEX["started"], INDEX["not_started"]
TIMED_OUT, BYTES_RECEIVED = INDEX["timed_out"], INDEX["bytes_received"]


class Closing:
    """Ends connections in the plan's close style, and awaits the peers of half-closed ones. Use it as a context."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._half_closed: dict[int, int] = {}
        """Descriptor -> when its FIN was sent; the oldest first."""

    def __enter__(self) -> Closing:
        self._worker.connections.on_lost.append(self._lost)
        return self

    def __exit__(self, *_error: object) -> None:
        self._worker.connections.on_lost.remove(self._lost)

    def __len__(self) -> int:
        """How many connections are half closed."""
        return len(self._half_closed)

    def _lost(self, fd: int) -> None:
        self._half_closed.pop(fd, None)

    def begin(self, fd: int) -> None:
        """End one open connection."""
        connections, style = self._worker.connections, self._worker.plan.close
        try:
            if style == "half":
                half_close(fd)
                self._half_closed[fd] = time.monotonic_ns()
                return
            if style == "rst":
                abort_on_close(fd)
        except OSError as error:
            connections.lost(fd, error.errno or 0)
            return
        connections.closed_orderly(fd)

    def event(self, fd: int) -> bool:
        """Read what a half-closed connection still brings, and close it at the peer's FIN; False: not one of ours."""
        if fd not in self._half_closed:
            return False
        connections = self._worker.connections
        try:
            data = self._worker.read(fd, 65536)
        except BlockingIOError:
            return True
        except OSError as error:
            connections.lost(fd, error.errno or 0)
            return True
        self._worker.row[BYTES_RECEIVED] += len(data)
        if not data:
            connections.closed_orderly(fd)
        return True

    def expire(self) -> None:
        """Give up peers that do not send their FIN in time."""
        limit = time.monotonic_ns() - self._worker.plan.drain.wait_peer_close_ns
        while self._half_closed:
            fd = next(iter(self._half_closed))
            if self._half_closed[fd] > limit:
                return
            self._worker.row[TIMED_OUT] += 1
            self._worker.row[error_cell(errno.ETIMEDOUT)] += 1
            self._worker.connections.gave_up(fd)


def run(worker: Worker, phase: Drain, start_ns: int) -> None:
    plan, row, number = worker.plan, worker.row, worker.connections.number
    worker.sweep()
    fds = worker.connections.open_descriptors()
    rate = plan.drain.rate_per_s
    pace = Pace(start_ns=start_ns, rate_per_s=rate, worker=worker.index, workers=plan.workers) if rate else None
    cap = plan.share(plan.drain.in_flight, worker.index)
    row[PLANNED] += len(fds)
    following = 0
    with Closing(worker) as closing:
        while (following < len(fds) or closing) and not worker.stopping:
            until = min(following + cap, len(fds))
            while following < until and len(closing) < cap:
                if pace is not None:
                    due, now = pace.due_ns(following), time.monotonic_ns()
                    if due > now:
                        worker.timer.arm(due)
                        break
                    worker.lateness.add(now - due)
                if number[fds[following]] != NOBODY:
                    closing.begin(fds[following])
                row[STARTED] += 1
                following += 1
            more = following == until and following < len(fds) and len(closing) < cap
            for fd, events in worker.poll(0 if more else None):
                if not closing.event(fd):
                    worker.idle_event(fd, events)
            closing.expire()
    row[NOT_STARTED] += len(fds) - following
