"""The parent of a fleet's workers: forks them, passes the barriers for all, reports progress, and writes the result.

It does none of the work itself, so that nothing the workers measure waits for it. Workers are forked before any
socket exists and share one page of counters with it; orders and reports travel through a pair of pipes a worker.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

from lab.inside import lifecycle
from lab.inside.native import Int, Library

from . import worker as worker_module
from .closed_fast import hot_loop_code
from .counters import Counters
from .plan import Plan
from .result import PhaseRecord, assemble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PROGRESS_S = 0.5
HEAD_START_NS = 2_000_000
"""Phases begin this long after the order, so that all workers have read it by then."""
_PR_SET_PDEATHSIG = 1


class Child:
    """One worker process and its two pipes."""

    def __init__(self, pid: int, orders: int, reports: int) -> None:
        self.pid = pid
        self.orders = orders
        self.reports = reports
        self.lines: list[dict[str, Any]] = []
        self.status: int | None = None
        self._partial = b""

    def order(self, line: dict[str, Any]) -> None:
        try:
            os.write(self.orders, json.dumps(line).encode() + b"\n")
        except BrokenPipeError:
            return  # it died: its report pipe says so too, and that is where it is handled

    def read(self) -> None:
        """Take what it reported; at the end of the pipe, its exit status."""
        part = os.read(self.reports, 65536)
        if not part:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return
        *lines, self._partial = (self._partial + part).split(b"\n")
        self.lines += [json.loads(line) for line in lines]

    def close(self) -> None:
        os.close(self.reports)
        if self.orders >= 0:
            os.close(self.orders)

    def no_more_orders(self) -> None:
        os.close(self.orders)
        self.orders = -1


class Coordinator:
    """One run of one fleet host."""

    def __init__(self, plan: Plan, signals: lifecycle.Signals) -> None:
        self._plan = plan
        self._signals = signals
        self._counters = Counters(plan.workers)
        self._children: list[Child] = []
        self._phases: list[PhaseRecord] = []
        self._open_at_once = 0

    def run(self) -> int:
        """Go through the plan; returns the exit code (0 unless a worker broke)."""
        for stale in os.listdir(lifecycle.out_path(".")):
            if stale.startswith("latency-"):
                os.unlink(lifecycle.out_path(stale))  # of an earlier run by hand, which may have had more workers
        anchor = {"monotonic_ns": time.monotonic_ns(), "realtime_ns": time.time_ns()}
        hot_loop_code()  # once, for all of them
        for index in range(self._plan.workers):
            self._children.append(self._fork(index))
        self._await_lines(1)
        lifecycle.ready("fleet", name=self._plan.name, workers=len(self._children))
        for index in range(len(self._plan.phases)):
            if not self._signals.wait_barrier() or self._broken():
                break
            self._phase(index)
        for child in self._children:
            child.no_more_orders()
        while any(child.status is None for child in self._children):
            self._listen()
        for child in self._children:
            child.close()
        result = assemble(self._plan, anchor, self._phases, self._counters, self._open_at_once)
        ends = [child.lines[-1] if child.lines and "end" in child.lines[-1] else None for child in self._children]
        result["workers"] = [
            {"pid": child.pid, "exit_status": child.status, **{k: v for k, v in (end or {}).items() if k != "end"}}
            for child, end in zip(self._children, ends, strict=True)
        ]
        result["first_wrong_answer"] = next(
            (e["first_wrong_answer"] for e in ends if e and e["first_wrong_answer"]), None
        )
        result["interrupted"] = self._signals.stopping
        lifecycle.write_result("fleet", result)
        return 1 if self._broken() else 0

    def _broken(self) -> bool:
        return any(child.status not in (None, 0) for child in self._children)

    def _fork(self, index: int) -> Child:
        orders, orders_write = os.pipe()
        reports, reports_write = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(orders_write)
            os.close(reports)
            for other in self._children:
                other.close()
            self._be_worker(index, parent, orders, reports_write)
        os.close(orders)
        os.close(reports_write)
        return Child(pid, orders_write, reports)

    def _be_worker(self, index: int, parent: int, orders: int, reports: int) -> NoReturn:
        """Never returns to the parent's code, whatever happens."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(ignored, signal.SIG_IGN)  # the parent hears them, and tells through the stop flag
            Library(None).function("prctl", Int, Int)(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                lifecycle.join_crowd(self._plan.crowd)
                worker_module.run(self._plan, index, self._counters, orders, reports)
                status = 0
        except BaseException:  # noqa: BLE001  a forked child ends here: its trace is all that can be handed on
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _phase(self, index: int) -> None:
        phase = self._plan.phases[index]
        before = self._counters.sums()
        record = PhaseRecord(index=index, phase=phase, before=before, begin_realtime_ns=time.time_ns())
        self._phases.append(record)
        lifecycle.emit("phase", phase=phase.phase, index=index, state="begin", **_short(before, self._counters))
        order = {"phase": index, "start_ns": time.monotonic_ns() + HEAD_START_NS}
        for child in self._children:
            child.order(order)
        self._await_lines(index + 2, progress_of=index)
        record.reports = [line for child in self._children for line in child.lines if line.get("phase") == index]
        record.after = self._counters.sums()
        record.end_realtime_ns = time.time_ns()
        self._open_at_once = max(self._open_at_once, record.after["open"])
        lifecycle.emit("phase", phase=phase.phase, index=index, state="end", **_short(record.after, self._counters))

    def _await_lines(self, count: int, progress_of: int | None = None) -> None:
        """Wait until every living worker has reported `count` lines."""
        next_progress = time.monotonic() + PROGRESS_S
        while any(len(child.lines) < count and child.status is None for child in self._children):
            self._listen(max(next_progress - time.monotonic(), 0.0))
            if self._signals.stopping or self._broken():
                self._counters.stop()
            if progress_of is not None and time.monotonic() >= next_progress:
                next_progress += PROGRESS_S
                phase = self._plan.phases[progress_of].phase
                lifecycle.emit(
                    "progress", phase=phase, index=progress_of, **_short(self._counters.sums(), self._counters)
                )

    def _listen(self, timeout_s: float | None = None) -> None:
        """Wait for a report or a signal."""
        by_pipe = {child.reports: child for child in self._children if child.status is None}
        readable, _, _ = select.select([*by_pipe, self._signals.wakeup_fd], [], [], timeout_s)
        for fd in readable:
            if fd in by_pipe:
                by_pipe[fd].read()
            else:
                self._signals.clear_wakeup()


def _short(sums: dict[str, int], counters: Counters) -> dict[str, Any]:
    """The counters worth a line of progress."""
    names = ("attempted", "opened", "open", "answered", "sent", "received", "failed", "timed_out")
    closed = sums["closed_orderly"] + sums["closed_early"] + sums["reset_by_peer"]
    return {name: sums[name] for name in names} | {"closed": closed, "errors": counters.errors()}
