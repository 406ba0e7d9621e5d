"""The end of a run in a process of its own: the analysis is loaded there while the hosts still come up.

numba, polars and the compiled loops take more than a second to load, and the lab's own process has a run to drive
meanwhile. So a child process loads them beside the engine's work, and waits for the folder of the finished run. What it
has not loaded when the traffic begins, it goes on loading only on processors that nobody else wants (SCHED_IDLE in
sched(7)): whoever runs beside a measurement is in it. On a machine's very first run the loops are compiled, which is
too much to hide: then the traffic waits.

As soon as a run's files are collected the child makes its tables, beside the removal of the hosts; the verdict follows
when that is done, since it tells what took how long.

The two talk in JSON lines: {"compiles": bool}, {"loaded": true}, {"say": line}, {"done": verdict, "summary": text} come
out, {"tables": folder} and {"folder", "timing_s", "began", "width", "color"} go in. The child ends with its standard
input, and with the lab.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.engines.child import bound_to_parent
from lab.errors import RunFailed
from lab.progress import Progress
from lab.store import Run

PROJECT = Path(__file__).resolve().parent.parent


class Conclusion:
    """The lab's end of it, a `Companion` of runs. Use as a context manager, so that the child ends whatever happens."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._child = subprocess.Popen(
            [*bound_to_parent("KILL"), sys.executable, "-m", "lab.conclusion"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])},
            start_new_session=True,
        )
        self._said: dict[str, Any] = {}
        """What the child has said of its state so far: `compiles`, `loaded`."""
        self._rest = b""

    def __enter__(self) -> Conclusion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.terminate()
        self._child.wait()
        self._child.stdout.close()

    def before_traffic(self) -> None:
        """Wait for what would disturb a measurement, and have the rest done in idle time only."""
        self._hear_until("compiles")
        if self._said["compiles"]:
            self._hear_until("loaded")
        elif "loaded" not in self._said:
            self._schedule("SCHED_IDLE")

    def collected(self, run: Run) -> None:
        """Begin with the run's tables."""
        self._schedule("SCHED_OTHER")
        self._tell({"tables": str(run.folder)})

    def conclude(
        self, folder: Path, timing_s: dict[str, float], *, began: float, width: int = 0, color: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Judge and report a run that was collected; return its verdict and (with a width) its summary for a terminal.

        `began` is when the run did, in seconds of CLOCK_MONOTONIC. Raises RunFailed when the child does not come to an
        end of it.
        """
        self._said.pop("done", None)
        self._tell({"folder": str(folder), "timing_s": timing_s, "began": began, "width": width, "color": color})
        self._hear_until("done")
        return self._said["done"], self._said["summary"]

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # why it has ended is found when it is heard
            self._child.stdin.write(json.dumps(order).encode() + b"\n")
            self._child.stdin.flush()

    def _hear_until(self, key: str) -> None:
        """Take in what the child says until it has said `key`. Raises RunFailed when it ends before."""
        assert self._child.stdout is not None
        while key not in self._said:
            select.select([self._child.stdout], [], [])
            data = os.read(self._child.stdout.fileno(), 1 << 16)
            if not data:
                raise RunFailed(
                    f"the analysis ended with exit code {self._child.wait()}",
                    hint="its last words stand above; `lab report RUN --again` tries it again",
                )
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "say" in message:
                    self._progress.say(message["say"])
                else:
                    self._said |= message

    def _schedule(self, policy: str) -> None:
        """Put all threads of the child under a scheduling policy, where the system has one."""
        number = getattr(os, policy, None)
        if number is None:
            return
        with suppress(OSError):  # it has ended, or this kernel does not let us: then it competes like anybody
            for thread in os.listdir(f"/proc/{self._child.pid}/task"):
                os.sched_setscheduler(int(thread), number, os.sched_param(0))


def main() -> int:
    """Be the child: load, then conclude each run that is named on standard input."""
    from lab.analysis.compiled import compiles_on_first_call

    tell(compiles=compiles_on_first_call())
    from lab.report.terminal import rendered
    from lab.results import judge_and_report, make_tables, warm_up

    warm_up(say)
    tell(loaded=True)
    analysis_s = 0.0
    for line in sys.stdin:
        order = json.loads(line)
        if "tables" in order:
            analysis_s = make_tables(Path(order["tables"]), say)
            continue
        folder = Path(order["folder"])
        timing_s = order["timing_s"]
        waited_s = timing_s.get("analysis", 0.0)  # for this process to compile, where it had to
        timing_s = {**timing_s, "analysis": round(waited_s + analysis_s, 3)}
        verdict = judge_and_report(folder, timing_s, began=order["began"])
        summary = rendered(folder, width=order["width"], color=order["color"]) if order["width"] else ""
        tell(done=verdict, summary=summary)
    return 0


def tell(**message: Any) -> None:
    """Say something to the lab."""
    print(json.dumps(message), flush=True)


def say(line: str) -> None:
    """Have the lab show a line to the user."""
    tell(say=line)


if __name__ == "__main__":
    sys.exit(main())
