"""The open model: requests are due at a set rate whatever the server does. Probes are the same, but gentle.

Each arrival goes to a free connection. If none is free it waits, and its planned time stays what it was: response
time (done - planned) then tells what a user would have felt, while service time (done - sent) looks as fine as ever.
Leaving the waiting out is the "coordinated omission" of many load generators. What could not be begun before the
phase was over is counted as not started.
"""

from __future__ import annotations

import time
from collections import deque

from .connections import NOBODY
from .counters import INDEX
from .exchange import Exchange
from .latency_log import PROBE
from .pacing import Pace
from .phases import OpenLoad, Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

PLANNED, STARTED, NOT_STARTED = INDEX["planned"], INDEX["started"], INDEX["not_started"]

STARTS = 64
"""Requests begun before answers are looked at: a generator that is behind must not leave those lying too."""
EVENTS = 64
"""Answers taken before due arrivals are looked for again: a long batch would make them late."""


def run(worker: Worker, phase: OpenLoad, start_ns: int) -> None:
    _load(worker, phase, start_ns, worker.active(phase.active_share))


def run_probe(worker: Worker, phase: Probe, start_ns: int) -> None:
    worker.log.begin(worker.log.phase, kind=PROBE)
    _load(worker, phase, start_ns, worker.chosen(phase.connections))


def _load(worker: Worker, phase: OpenLoad | Probe, start_ns: int, fds: list[int]) -> None:
    row, number = worker.row, worker.connections.number
    pace = Pace(start_ns=start_ns, rate_per_s=phase.rate_per_s, worker=worker.index, workers=worker.plan.workers)
    arrivals = pace.count_within(phase.duration_ns)
    end = start_ns + phase.duration_ns
    row[PLANNED] += arrivals
    free = deque(fds)
    free_since = start_ns
    following = 0
    over = False
    with Exchange(worker) as exchange:
        while not worker.stopping:
            now = time.monotonic_ns()
            over = over or now >= end
            begun = 0
            while following < arrivals and free and begun < STARTS:
                due = pace.due_ns(following)
                if due > now:
                    worker.timer.arm(due)
                    break
                fd = free.popleft()
                if number[fd] == NOBODY:
                    continue
                sent = exchange.begin(fd, due)
                following += 1
                begun += 1
                row[STARTED] += 1
                now = time.monotonic_ns()
                worker.lateness.add((sent if sent > 0 else now) - max(due, free_since))
            if over and begun < STARTS:
                break
            if not free or following == arrivals:
                worker.timer.arm(end)
            free_since = _answers(worker, exchange, free, free_since, 0 if begun == STARTS else None)
        row[NOT_STARTED] += arrivals - following
        await_answers(worker, exchange, end + phase.grace_ns)


def _answers(worker: Worker, exchange: Exchange, free: deque[int], free_since: int, until_ns: int | None) -> int:
    """Take answers and put their connections back among the free; returns since when some are free."""
    for fd, events in worker.poll(until_ns, EVENTS):
        if not exchange.waiting[fd]:
            worker.idle_event(fd, events)
        elif exchange.event(fd, events) > 0 and not exchange.waiting[fd]:
            if not free:
                free_since = time.monotonic_ns()
            free.append(fd)
    return free_since


def await_answers(worker: Worker, exchange: Exchange, until_ns: int) -> None:
    """Take the answers still outstanding, at most until `until_ns`."""
    while exchange.outstanding and not worker.stopping and time.monotonic_ns() < until_ns:
        for fd, events in worker.poll(until_ns):
            if exchange.waiting[fd]:
                exchange.event(fd, events)
            else:
                worker.idle_event(fd, events)
