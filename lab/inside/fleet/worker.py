"""One worker process: it holds its part of the connections and goes through the phases when the parent says so.

The parent writes one line to go on, `{"phase": 0, "start_ns": ...}`; closing the pipe means there are no more phases.
The worker answers each phase with one line when it is over, and ends with its totals. Between phases it goes on
watching its connections, so that what a server closes meanwhile is noticed when it happens.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import select
import time

from lab.inside import lifecycle

from . import burst, churn, closed_load, connect, drain, hold, open_load, phases, slow_read, udp
from .answers import boundary_tap, request_and_answers
from .connections import NOBODY, Connections
from .counters import INDEX, Counters
from .latency_log import LatencyLog
from .lateness import Lateness
from .pacing import Timer
from .plan import Plan, spread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TICK_S = 0.05
"""How often, at least, a loop looks whether it shall stop."""
EVENTS = 1024
"""Events taken from epoll at once."""

_RUN: dict[type, Callable[..., None]] = {
    phases.Connect: connect.run,
    phases.Hold: hold.run,
    phases.ClosedLoad: closed_load.run,
    phases.OpenLoad: open_load.run,
    phases.Probe: open_load.run_probe,
    phases.Churn: churn.run,
    phases.Burst: burst.run,
    phases.SlowRead: slow_read.run,
    phases.Drain: drain.run,
}
_RUN_UDP: dict[type, Callable[..., None]] = _RUN | {
    phases.ClosedLoad: udp.run_closed,
    phases.OpenLoad: udp.run_open,
    phases.Burst: udp.run_burst,
}


class Worker:
    """What every phase of a worker needs."""

    def __init__(self, plan: Plan, index: int, counters: Counters) -> None:
        self.plan = plan
        self.index = index
        self.counters = counters
        self.row = counters.row(index)
        self.connections = Connections(plan, plan.descriptors_needed(), self.row)
        self.request, self.right_answer, self.answers = request_and_answers(plan)
        self.tap = boundary_tap(plan)
        self.read: Callable[[int, int], bytes] = self.tap.read if self.tap else os.read
        self.write: Callable[[int, bytes | memoryview], int] = self.tap.write if self.tap else os.write
        """The system's calls, or those that log where messages, sends and recvs begin and end."""
        self.log = LatencyLog(lifecycle.out_path(""), index, plan.latency_records)
        self.timer = Timer()
        self.connections.epoll.register(self.timer.fd, select.EPOLLIN)
        self.lateness = Lateness()
        """Of this phase: how much later than it could the generator acted."""
        self.first_wrong: dict[str, Any] | None = None
        self.stalled: set[int] = set()
        """Descriptors whose last request was never answered: left open, but not asked again, as a late answer would be
        taken for the next one's."""
        self.connections.on_lost.append(self.stalled.discard)
        if self.tap:
            self.connections.on_lost.append(self.tap.forget)
        self.flows = udp.Flows(self)
        """The datagrams in flight, where the transport is udp."""

    @property
    def stopping(self) -> bool:
        return self.counters.stopping

    def active(self, share: float) -> list[int]:
        """The usable descriptors of this worker's part of the active share of the host's connections."""
        return self.chosen(math.ceil(self.plan.connections * share - 1e-9))

    def chosen(self, amount: int) -> list[int]:
        """The usable descriptors of this worker's part of `amount` connections, in the order of their numbers."""
        plan, number = self.plan, self.connections.number
        held = len(plan.connections_of(self.index))
        quota = plan.share(amount, self.index)
        fds = self.connections.open_descriptors()
        return [fd for fd in fds if fd not in self.stalled and spread(number[fd] // plan.workers, quota, held)]

    def poll(self, until_ns: int | None = None, most: int = EVENTS) -> Iterator[tuple[int, int]]:
        """Wait for at most `most` events, not beyond `until_ns` (0: not at all), no longer than a tick."""
        wait_s = TICK_S
        if until_ns is not None:
            wait_s = min(TICK_S, max((until_ns - time.monotonic_ns()) / 1e9, 0.0)) if until_ns else 0.0
        for fd, events in self.connections.epoll.poll(wait_s, most):
            if fd == self.timer.fd:
                self.timer.clear()
            else:
                yield fd, events

    def idle_event(self, fd: int, events: int) -> None:
        """Handle an event of a connection that has no request in flight: an early close, or bytes nobody asked for."""
        if self.connections.number[fd] == NOBODY:
            return
        if self.plan.transport == "udp":
            self.flows.event(fd)
            return
        try:
            data = self.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.connections.lost(fd, error.errno or 0)
            return
        if not data:
            self.connections.lost(fd, 0)
            return
        self.row[INDEX["bytes_received"]] += len(data)
        self.row[INDEX["surplus_bytes"]] += len(data)
        if fd not in self.stalled:
            self.note_wrong(self.plan.first_connection + self.connections.number[fd], data, "nothing was asked")

    def sweep(self) -> None:
        """Take in what has happened to the connections up to now."""
        while ready := list(self.poll(0)):
            for fd, events in ready:
                self.idle_event(fd, events)
            if len(ready) < EVENTS - 1:  # one of them may have been the timer
                break

    def note_wrong(self, connection: int, data: bytes, why: str) -> None:
        """Keep the first wrong answer as evidence."""
        if self.first_wrong is None:
            expected = self.right_answer[:64].decode("latin-1") if self.right_answer is not None else None
            got = bytes(data[:64]).decode("latin-1")
            self.first_wrong = {"connection": connection, "why": why, "got": got, "expected": expected}

    def close(self) -> None:
        self.row[INDEX["late_drops"]] = self.log.not_kept
        self.log.close()
        self.timer.close()
        self.connections.epoll.close()


def run(plan: Plan, index: int, counters: Counters, control: int, report: int) -> None:
    """Be worker `index` until the parent closes `control`."""
    gc.disable()  # nothing here makes cycles; searching for them costs the hot loops some percent of their time
    worker = Worker(plan, index, counters)
    _report(report, {"armed": True})
    worker.connections.epoll.register(control, select.EPOLLIN)
    while (order := _next_order(worker, control)) is not None:
        worker.connections.epoll.unregister(control)
        _report(report, _run_phase(worker, order))
        worker.connections.epoll.register(control, select.EPOLLIN)
    worker.close()
    if worker.tap:
        worker.tap.store(f"fleet-{index}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    _report(
        report,
        {
            "end": True,
            "cpu_user_ns": round(used.ru_utime * 1e9),
            "cpu_system_ns": round(used.ru_stime * 1e9),
            "rss_peak_bytes": used.ru_maxrss * 1024,
            "voluntary_switches": used.ru_nvcsw,
            "involuntary_switches": used.ru_nivcsw,
            "first_wrong_answer": worker.first_wrong,
            "latency_records": worker.log.kept,
        },
    )


def _next_order(worker: Worker, control: int) -> dict[str, Any] | None:
    """Watch the connections until the parent writes a line (None: it closed the pipe)."""
    line = b""
    while True:
        for fd, events in worker.poll():
            if fd != control:
                worker.idle_event(fd, events)
                continue
            part = os.read(control, 4096)
            line += part
            if not part:
                worker.connections.epoll.unregister(control)
                return None
            if line.endswith(b"\n"):
                order: dict[str, Any] = json.loads(line)
                return order


def _run_phase(worker: Worker, order: dict[str, Any]) -> dict[str, Any]:
    """Go through one phase; returns what the parent wants to know of it."""
    phase = worker.plan.phases[order["phase"]]
    worker.lateness = Lateness()
    worker.log.begin(order["phase"])
    worker.sweep()
    cpu, begin = time.process_time_ns(), time.monotonic_ns()
    run_by_type = _RUN if worker.plan.transport == "tcp" else _RUN_UDP
    run_by_type[type(phase)](worker, phase, order["start_ns"])
    worker.timer.disarm()
    worker.log.spill()
    worker.sweep()
    end = time.monotonic_ns()
    return {
        "phase": order["phase"],
        "begin_ns": begin,
        "end_ns": end,
        "cpu_ns": time.process_time_ns() - cpu,
        "lateness": {"bins": worker.lateness.bins, "most_ns": worker.lateness.most_ns},
    }


def _report(fd: int, line: dict[str, Any]) -> None:
    data = memoryview(json.dumps(line).encode() + b"\n")
    while data:
        data = data[os.write(fd, data) :]
