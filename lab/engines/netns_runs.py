"""Find the runs of the netns engine on this machine, by the command lines of their guards.

A command line is the label: it lives exactly as long as the run, so no state file can be stale or lost.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GUARD_MODULE = "lab.engines.netns_guard"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A guard that runs."""

    pid: int
    run: str
    folder: Path
    """The run's netns folder."""
    owner: str
    """The lab process that started it, as `process_mark` tells it."""

    @property
    def owner_alive(self) -> bool:
        return process_mark(int(self.owner.partition(":")[0])) == self.owner


def process_mark(pid: int) -> str | None:
    """`PID:START`, which no other process ever has before the next boot; None when it has ended. START: clock ticks
    since boot (proc_pid_stat(5), field 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{pid}:{fields[18]}"


def guard_arguments(run: str, folder: Path, control: int) -> list[str]:
    """The arguments of GUARD_MODULE for a run of this process; `find_guards` reads them back."""
    mark = process_mark(os.getpid())
    assert mark is not None, "this process runs"
    return ["--run", run, "--folder", str(folder), "--owner", mark, "--control", str(control)]


def find_guards() -> list[Guard]:
    """List the guards of this user (root: of all), oldest first."""
    found = {}
    parents = {}
    for pid, arguments in _command_lines():
        if GUARD_MODULE not in arguments:
            continue
        given = arguments[arguments.index(GUARD_MODULE) + 1 :]
        options = dict(zip(given[::2], given[1::2], strict=False))
        with suppress(KeyError, FileNotFoundError, ProcessLookupError):
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            found[pid] = Guard(
                pid=pid, run=options["--run"], folder=Path(options["--folder"]), owner=options["--owner"]
            )
    # The holder, forked from the guard, has the same command line; it goes with its guard.
    return [guard for pid, guard in sorted(found.items()) if parents[pid] not in found]


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    uid = os.getuid()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if uid in (0, entry.stat().st_uid):
                    arguments = Path(entry.path, "cmdline").read_bytes().decode(errors="replace").split("\0")
                    yield int(entry.name), arguments


def end_guard(guard: Guard, *, patience_s: float) -> bool:
    """Have a guard take its run away; True once both have ended. A process that has only inherited its number is left
    alone: the pidfd is taken first, then what it refers to is checked.
    """
    try:
        pidfd = os.pidfd_open(guard.pid)
    except ProcessLookupError:
        return True
    try:
        if guard not in find_guards():
            return True
        return stop(pidfd, patience_s=patience_s)
    finally:
        os.close(pidfd)


def stop(pidfd: int, *, patience_s: float) -> bool:
    """Send SIGTERM, and SIGKILL where that does not help in time; True once the process has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        if select.select([pidfd], [], [], patience_s)[0]:
            return True
    return False
