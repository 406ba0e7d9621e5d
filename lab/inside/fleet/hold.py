"""The hold phase: every connection stays open and silent, and one that the server closes is noticed and counted."""

from __future__ import annotations

import time

from .phases import Hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker


def run(worker: Worker, phase: Hold, start_ns: int) -> None:
    end = start_ns + phase.duration_ns
    while time.monotonic_ns() < end and not worker.stopping:
        worker.timer.arm(end)
        for fd, events in worker.poll(end):
            worker.idle_event(fd, events)
