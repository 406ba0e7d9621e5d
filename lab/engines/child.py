"""A command run to its end on the lab's behalf, which never outlives the lab by more than a moment.

It gets a session of its own, so Ctrl-C reaches the lab alone and the lab decides; when the lab is interrupted while it
waits, the command is stopped first. Where `setpriv` exists (util-linux), the kernel ends the command even if the lab
dies by `kill -9`: nothing goes on making containers behind the back of `lab clean`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
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


def run(
    words: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    if_lab_dies: str = "KILL",
) -> Ended:
    """Run a command to its end. It is stopped after `timeout_s`, and whenever the caller is interrupted.

    `if_lab_dies` is the signal the kernel sends it then; `TERM` for a command that must tidy up after itself.
    """
    deadline = time.monotonic() + timeout_s
    process = subprocess.Popen(
        [*_bound_to_parent(if_lab_dies), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        return Ended(exit_code=process.returncode, output=output, timed_out=False)
    except subprocess.TimeoutExpired:
        return Ended(exit_code=-1, output=_stop(process), timed_out=True)
    except BaseException:
        _stop(process)
        raise


def _stop(process: subprocess.Popen[str]) -> str:
    """End a command: SIGTERM, then SIGKILL; return what it had written."""
    process.terminate()
    try:
        output, _ = process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return output


@cache
def _bound_to_parent(signal_name: str) -> tuple[str, ...]:
    """Return the words that make a command die with the thread that started it; none where that cannot be had."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", signal_name) if setpriv else ()
