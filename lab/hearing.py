"""What the programs of a run say: heard, kept, logged, and waited for with a bound.

Goes in: an engine's news. Comes out: what each program has said last, `hosts/<host>/<role>.log` in the run folder, and
RunFailed with a program's last words when it ends early or stays silent too long.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lab import units
from lab.engines import Engine, News
from lab.errors import RunFailed
from lab.progress import Progress
from lab.store import Run


@dataclass(kw_only=True)
class Heard:
    """What one program has said so far."""

    ready: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    phases_ended: int = 0
    counters: list[dict[str, Any]] = field(default_factory=list)
    usages: list[dict[str, Any]] = field(default_factory=list)
    """Answers to what it has used so far; `reading` i was asked before phase i, and i + 1 after it."""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Steps of a script that have begun or ended, by their place in it."""
    exit_code: int | None = None
    last_words: list[str] = field(default_factory=list)


class Hearing:
    """Takes in the news of one run."""

    def __init__(self, engine: Engine, run: Run, progress: Progress) -> None:
        self.engine = engine
        self.run = run
        self.progress = progress
        self.heard: dict[str, Heard] = defaultdict(Heard)
        self.reading = 0
        """Which reading of what servers have used was asked for last."""
        self._logs: dict[str, Any] = {}

    def close(self) -> None:
        """Close the programs' logs."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    def listen(self, timeout_s: float) -> None:
        """Take in news for `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self.listen_once(left)

    def listen_once(self, timeout_s: float) -> None:
        """Take in the next news, if any comes within `timeout_s`."""
        news = self.engine.next_news(timeout_s)
        if news is not None:
            self._hear(news)

    def wait(
        self,
        names: Iterable[str],
        condition: Callable[[Heard], bool] | None,
        timeout_s: float,
        what: str,
        *,
        may_end: bool = False,
        by_name: Callable[[str], bool] | None = None,
    ) -> None:
        """Take in news until the condition holds for every program named.

        Raises RunFailed when the time is over, or when one of them ends before (unless `may_end`).
        """
        waiting = set(names)
        deadline = time.monotonic() + timeout_s
        while True:
            waiting = {n for n in waiting if not (by_name(n) if by_name else condition and condition(self.heard[n]))}
            for name in [n for n in waiting if self.heard[n].exit_code is not None]:
                if not may_end:
                    self._fail(name, f"ended with exit code {self.heard[name].exit_code} before it was {what}")
                waiting.discard(name)
            for name, heard in self.heard.items():
                if heard.exit_code and heard.result is None:
                    self._fail(name, f"ended with exit code {heard.exit_code} while the lab waited for {what}")
            if not waiting:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                name = min(waiting)
                others = f" ({len(waiting) - 1} others neither)" if len(waiting) > 1 else ""
                self._fail(name, f"waited {timeout_s:.0f} s for {what}{others}; last seen: {self._last_seen(name)}")
            self.listen_once(min(left, 0.5))
            self._show_progress()

    def _hear(self, news: News) -> None:
        heard = self.heard[news.program]
        if news.exit_code is not None:
            heard.exit_code = news.exit_code
        if news.log is not None:
            heard.last_words = [*heard.last_words[-19:], news.log]
            self._log(news.program, news.log)
        event = news.event
        if event is None:
            return
        kind = event.get("event")
        if kind == "ready":
            heard.ready = event
        elif kind == "result":
            heard.result = event
        elif kind == "progress":
            heard.progress = event
        elif kind == "counters":
            heard.counters.append(event)
        elif kind == "usage":
            heard.usages.append({**event, "reading": self.reading})
        elif kind == "step":
            heard.steps[int(event["index"])] = event
        elif kind == "phase" and event.get("state") == "end":
            heard.phases_ended += 1
            heard.progress = event

    def _log(self, program: str, line: str) -> None:
        if program not in self._logs:
            host, role = program.split("/")
            folder = self.run.folder / "hosts" / host
            folder.mkdir(parents=True, exist_ok=True)
            self._logs[program] = (folder / f"{role}.log").open("a", encoding="utf-8")
        self._logs[program].write(line + "\n")
        self._logs[program].flush()

    def _show_progress(self) -> None:
        def total(role: str, key: str) -> int:
            return sum(int(h.progress.get(key) or 0) for n, h in self.heard.items() if n.endswith(f"/{role}"))

        parts = []
        if opened := total("fleet", "open"):
            parts.append(f"{units.show_count(opened)} open")
        if answered := total("fleet", "answered"):
            parts.append(f"{units.show_count(answered)} answered")
        if closed := total("fleet", "closed"):
            parts.append(f"{units.show_count(closed)} closed")
        if packets := total("capture", "packets"):
            parts.append(f"{units.show_count(packets)} packets")
        if parts:
            self.progress.update(", ".join(parts))

    def refuse_failures(self, names: Iterable[str]) -> None:
        for name in names:
            if self.heard[name].exit_code:
                self._fail(name, f"ended with exit code {self.heard[name].exit_code}")

    def _last_seen(self, name: str) -> str:
        heard = self.heard[name]
        if heard.progress:
            return ", ".join(f"{k} {v}" for k, v in heard.progress.items() if k not in ("event", "t_ns", "program"))
        return "ready" if heard.ready else "nothing"

    def _fail(self, name: str, what: str) -> NoReturn:
        # What the program still had to say is often the reason: let it arrive.
        self.listen(0.3)
        heard = self.heard[name]
        words = "\n".join(f"  | {line}" for line in heard.last_words[-12:])
        error = RunFailed(
            f"{name}: {what}" + (f"\n{words}" if words else ""),
            hint=f"its whole log: {self.run.folder}/hosts/{name.replace('/', '/')}.log" if words else None,
        )
        if heard.exit_code == 3:
            error.exit_code = 3
        raise error
