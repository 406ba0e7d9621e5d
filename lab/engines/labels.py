"""The labels on everything a Docker engine makes for the lab: what marks it as ours, and who owns it.

Containers, networks and volumes of a run all carry `wirelab.project`, `wirelab.scenario`, `wirelab.run` and
`wirelab.owner`; removal goes by these labels alone. Images carry `wirelab.project` and `wirelab.stage`: the first
instruction of each Dockerfile says `stage=build`, the last one `stage=image`, so a container of a build that was killed
half-way can be told from a container somebody started from a finished image. A container inherits the labels of its
image, therefore `wirelab.project` alone never makes anything removable: `wirelab.run` or `stage=build` must stand
beside it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = "wirelab.project"
SCENARIO = "wirelab.scenario"
RUN = "wirelab.run"
OWNER = "wirelab.owner"
FOLDER = "wirelab.folder"
HOST = "wirelab.host"
NETWORK = "wirelab.network"
ROLE = "wirelab.role"
PROGRAM = "wirelab.program"
STAGE = "wirelab.stage"

PROJECT_NAME = "wirelab"
STAGE_BUILD = "build"

KEPT_MARK = ".kept"
"""A file in the run folder: the lab process left its hosts running on purpose (`lab up`)."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One lab process, told apart from every other on any machine and from a later one with its process id."""

    machine: str
    """The machine's (or container's) hostname."""
    boot: str
    """Changes when the machine restarts; `-` where the system does not tell."""
    pid: int
    started: str
    """When the process started, in whatever form the system gives it."""

    def __str__(self) -> str:
        return f"{self.machine}/{self.boot}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what `str` wrote; None for anything else."""
        parts = text.rsplit("/", 3)
        if len(parts) != 4 or not parts[2].isdigit():
            return None
        return cls(machine=parts[0], boot=parts[1], pid=int(parts[2]), started=parts[3])

    @classmethod
    def current(cls) -> Owner:
        """Describe this process."""
        pid = os.getpid()
        return cls(machine=platform.node(), boot=_boot(), pid=pid, started=_started(pid) or "-")

    def alive(self) -> bool:
        """Say whether the process still runs. One on another machine cannot be asked: it counts as alive."""
        if self.machine != platform.node():
            return True
        return self.boot == _boot() and _started(self.pid) == self.started


def of_run(*, scenario: str, run_id: str, folder: Path, owner: Owner) -> dict[str, str]:
    """Return the labels that everything made for one run carries."""
    return {
        PROJECT: PROJECT_NAME,
        SCENARIO: scenario,
        RUN: run_id,
        OWNER: str(owner),
        FOLDER: str(folder.resolve()),
    }


def in_use(labels: dict[str, str], *, running: bool) -> bool:
    """Say whether what carries these labels is in use rather than left behind.

    It is while the lab process that made it lives, or after that process left it on purpose and its run folder is
    still there. Without an owner (`docker compose up` by hand, a build) it is while its containers run: `running`.
    """
    owner = Owner.parse(labels.get(OWNER, ""))
    if owner is None:
        return running
    return owner.alive() or (FOLDER in labels and (Path(labels[FOLDER]) / KEPT_MARK).exists())


def _boot() -> str:
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return boot_id.read_text().strip() if boot_id.exists() else "-"


def _started(pid: int) -> str | None:
    """Return the start time of a process: clock ticks since boot on Linux; None if there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The command name in parentheses may hold anything; proc(5): field 22 is starttime, field 3 the state.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(answer.stdout.split()) or None
