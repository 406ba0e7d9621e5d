"""A command run to its end on the lab's behalf, which never outlives the lab by more than a moment.

It gets a session of its own, so Ctrl-C reaches the lab alone and the lab decides; when the lab is interrupted while it
waits, the command is stopped first. Where `setpriv` exists (util-linux), the kernel ends the command even if the lab
dies by `kill -9`: nothing goes on making containers behind the back of `lab clean`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STOP_S = 10.0
"""How long a command may take to end after SIGTERM before it is killed."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    exit_code: int
    output: str
    """Standard output and standard error together, as they came."""
    timed_out: bool

    def last_lines(self, count: int = 12) -> str:
        """Return the end of the output, for a message."""
        return "\n".join(line for line in self.output.splitlines()[-count:] if line.strip())


class Begun:
    """A command that has been started and reads from the lab: what it does to get ready costs nobody time."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        if_lab_dies: str = "KILL",
    ) -> None:
        with _interrupts_held_back() as interrupted:
            self._process = subprocess.Popen(
                [*bound_to_parent(if_lab_dies), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        if interrupted:
            self.stop()
            raise KeyboardInterrupt

    def end(self, *, timeout_s: float, text: str = "") -> Ended:
        """Give it its standard input and wait for its end. It is stopped after `timeout_s`, and whenever the caller is
        interrupted."""
        try:
            output, _ = self._process.communicate(text, timeout=timeout_s)
            return Ended(exit_code=self._process.returncode, output=output, timed_out=False)
        except subprocess.TimeoutExpired:
            return Ended(exit_code=-1, output=self.stop(), timed_out=True)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> str:
        """End it: SIGTERM, then SIGKILL; return what it had written. One that has ended is left alone."""
        self._process.terminate()
        try:
            output, _ = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        return output


@contextmanager
def _interrupts_held_back() -> Iterator[list[int]]:
    """Note interrupts instead of raising them: one in the middle of a start would leave a process that nobody knows."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # interrupts go to the main thread
        yield came
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    raising = [kind for kind in kinds if callable(before[kind])]
    for kind in raising:
        signal.signal(kind, lambda number, _frame: came.append(number))
    try:
        yield came
    finally:
        for kind in raising:
            signal.signal(kind, before[kind])


def run(
    words: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    if_lab_dies: str = "KILL",
) -> Ended:
    """Run a command to its end, with nothing on its standard input; stopped like `Begun.end` says.

    `if_lab_dies` is the signal the kernel sends it then; `TERM` for a command that must tidy up after itself.
    """
    return Begun(words, cwd=cwd, environment=environment, if_lab_dies=if_lab_dies).end(timeout_s=timeout_s)


@cache
def bound_to_parent(signal_name: str) -> tuple[str, ...]:
    """Return the words that make a command die with the thread that started it; none where that cannot be had."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", signal_name) if setpriv else ()
