"""Steps in turn: what both scripted programs share.

A program gets the steps of its host, each with its number in the whole script and the number of its turn. Steps of one
turn run one after the other; before a turn that is not the last one's continuation the program waits at the barrier
(`lifecycle.py`), so whoever started the programs decides whose turn it is. Every step is told twice: as an event
`step` when it has begun (`wait: false`) or ended, and in the result, with all its details.

A step that ends otherwise than its script says is the last one this program makes.
"""

from __future__ import annotations

import errno
import json
import threading
import time

from lab.inside import lifecycle
from lab.inside.arguments import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Step = dict[str, Any]
else:
    Step = dict
"""One step as the planner wrote it: the scenario's keys, `index`, `turn`, and `address` where it names a host."""

SUCCESS = "ok"
BLOCKS = "blocks"
EOF = "eof"
DIFFERS = "differs"
"""What came is not the text that had to come."""
BEGUN = "begun"


class Outcome:
    """How a step ended."""

    def __init__(
        self,
        *,
        outcome: str = SUCCESS,
        bytes: int = 0,
        calls: list[tuple[int, int, int]] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.outcome = outcome
        """`ok`, an errno's name, `eof`, `blocks` or `differs`."""
        self.bytes = bytes
        """Payload sent or received."""
        self.calls = calls or []
        """Of send and recv, each system call: stream offset, length, time of its return (ns since 1970)."""
        self.details = details or {}
        """Whatever else is worth keeping: addresses, sockets seen."""


def failed(error: OSError) -> Outcome:
    """Return the outcome of a system call that failed."""
    return Outcome(outcome=errno.errorcode.get(error.errno or 0, f"errno {error.errno}"), details={"error": str(error)})


class Log:
    """What became of each step; told as events too. Steps may end in any thread."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._rows: dict[int, dict[str, Any]] = {}
        self._ended: dict[str, threading.Event] = {}
        self.unexpected = 0

    def begin(self, step: Step) -> None:
        """Note that a step begins now."""
        row = {"index": step["index"], "do": step["do"], "label": step.get("as"), "socket": step.get("socket")}
        with self._lock:
            self._rows[step["index"]] = {
                **row,
                "begin_ns": time.time_ns(),
                "end_ns": None,
                "outcome": BEGUN,
                "gives": step.get("gives") or SUCCESS,
                "as_written": False,
                "bytes": 0,
                "calls": [],
            }
            if row["label"] is not None:
                self._ended[row["label"]] = threading.Event()

    def tell_begun(self, step: Step) -> None:
        """Let the script go on while the step waits."""
        lifecycle.emit("step", program=self._program, index=step["index"], outcome=BEGUN, as_written=True)

    def end(self, step: Step, outcome: Outcome) -> bool:
        """Note that a step has ended; return whether it ended as written."""
        wanted = step.get("bytes")
        as_written = outcome.outcome == (step.get("gives") or SUCCESS) and wanted in (None, outcome.bytes)
        with self._lock:
            row = self._rows[step["index"]]
            row.update(
                end_ns=time.time_ns(),
                outcome=outcome.outcome,
                as_written=as_written,
                bytes=outcome.bytes,
                calls=outcome.calls,
                **outcome.details,
            )
            self.unexpected += not as_written
            ended = self._ended.get(step.get("as") or "")
        if ended is not None:
            ended.set()
        short = {"outcome": outcome.outcome, "bytes": outcome.bytes, "as_written": as_written}
        error = {"error": str(outcome.details["error"])[:500]} if "error" in outcome.details else {}
        lifecycle.emit("step", program=self._program, index=step["index"], do=step["do"], **short, **error)
        return as_written

    def wait_for(self, label: str, timeout_s: float) -> bool:
        """Wait until the step of that name has ended; False if it has not in time."""
        return self._ended[label].wait(timeout_s)

    def rows(self) -> list[dict[str, Any]]:
        """Return what became of each step that was begun, in the script's order."""
        with self._lock:
            return [dict(self._rows[index]) for index in sorted(self._rows)]


def read_plan(argument: str) -> dict[str, Any]:
    """Read the plan from the command line: JSON, or `@file` with JSON in it."""
    if argument.startswith("@"):
        with open(argument[1:], encoding="utf-8") as file:
            return dict(json.load(file))
    return dict(json.loads(argument))


PLAN = Option("plan", "the host's steps: JSON, or @FILE with JSON in it", read=read_plan, required=True)
"""What both programs take."""


def run_turns(steps: list[Step], signals: lifecycle.Signals, log: Log, perform: Callable[[Step], bool]) -> None:
    """Perform the steps, each turn after its barrier, until one goes otherwise than written or the stop comes."""
    turn: int | None = None
    for step in steps:
        if step["turn"] != turn:
            turn = step["turn"]
            if not signals.wait_barrier():
                return
        if signals.stopping or log.unexpected:
            return
        if not perform(step):
            return


def stay(signals: lifecycle.Signals) -> None:
    """After the last step keep everything as it is until the stop; by hand there is nothing to stay for."""
    while not signals.stopping and lifecycle.barriers_by_signal():
        signals.wait()


def finish(program: str, name: str, log: Log) -> None:
    """Store every step with all its details; the event tells only how many there are, for a line has its limits."""
    rows = log.rows()
    lifecycle.store_result(program, {"name": name, "steps": rows, "usage": lifecycle.usage()})
    lifecycle.emit("result", program=program, name=name, steps=len(rows), unexpected=log.unexpected)
