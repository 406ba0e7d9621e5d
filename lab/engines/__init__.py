"""What an engine is: it turns a Topology into hosts, runs programs on them, and takes all of it away again.

Three engines keep this one contract (`tests/contract/test_engines.py`): compose, netns, swarm.

A run, as the session drives it:

    facts()                        what the machine allows; the planner plans with it
    prepare(topology)              images built or found; slow the first time, instant after
    up(topology, run)              hosts exist, joined by their networks, sysctls set; no program runs yet
    start(programs)                programs run; their events, log lines and exits arrive from `next_news`
    signal(programs, "USR1")       ...
    collect(host, folder)          every file the host's programs left in $LAB_OUT
    down()                         nothing is left; may be called twice, and after a failure anywhere above

Control and results never go through a shared file system: a host may be on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.topology import Facts, Program, Topology

__all__ = ["Engine", "Leftover", "News", "Say", "SubnetTaken"]

Say = Callable[[str], None]
"""Takes one line of talk for the user (standard error)."""


class SubnetTaken(Exception):
    """Another network took one of the topology's subnets first: plan again with new facts."""


@dataclass(frozen=True, kw_only=True)
class News:
    """Something a program said or did."""

    program: str
    """`Program.name`, e.g. `server/capture`."""
    event: dict[str, Any] | None = None
    """An event line from its standard output, parsed."""
    log: str | None = None
    """A line from its standard error (or one on standard output that is no event)."""
    exit_code: int | None = None
    """The program ended; nothing more comes from it. Killed by signal n: 128 + n."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something an engine created that still exists, found by its labels (or its state files)."""

    kind: str
    """`container`, `network`, `volume` or `process`."""
    name: str
    run: str
    """The run id it was made for."""
    alive: bool
    """Whether the lab process that owns the run still runs: then it is in use, not left behind."""


class Engine(Protocol):
    """Turns a Topology into hosts. One object serves one run."""

    name: str

    def facts(self) -> Facts:
        """Probe what the machine allows. Raises MachineLacks with the remedy when the engine cannot work here."""

    def prepare(self, topology: Topology, say: Say) -> dict[str, str]:
        """Make what hosts are started from; return its identities for the manifest, e.g. image name -> id."""

    def up(self, topology: Topology, *, run_id: str, run_folder: Path, say: Say) -> None:
        """Create networks and hosts, each with its addresses, sysctls and `name address` lines for all hosts in
        /etc/hosts, and start the host keepers (role `host`).

        Raises SubnetTaken (nothing is left then), RunFailed.
        """

    def start(self, programs: Sequence[Program]) -> None:
        """Start programs, in any order, at once; `$LAB_OUT` is writable, `LAB_BARRIER=signal` is set."""

    def next_news(self, timeout_s: float) -> News | None:
        """Return the next news of any program, in the order of each; None when `timeout_s` passed without any."""

    def signal(self, programs: Sequence[str], name: str) -> None:
        """Send a signal (`USR1`, `USR2`, `TERM`, `KILL`) to programs, as nearly at once as the engine can: what they
        begin by it shall begin together. One that has ended is left alone."""

    def collect(self, host: str, folder: Path) -> None:
        """Copy every file of the host's `$LAB_OUT` into `folder`; threads may do so for several hosts at once.

        Raises RunFailed when a file cannot be had whole.
        """

    def execute(self, host: str, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command inside a host on this terminal; return its exit code."""

    def attach(self, run_folder: Path) -> None:
        """Take over a run that another lab process brought up and left (`lab up`). Raises RunFailed if it is gone."""

    def leave(self) -> None:
        """Let the hosts live on after this process ends (`lab up`); `attach` finds them again."""

    def down(self) -> None:
        """Remove everything of this run, by its labels. Raises TeardownIncomplete with what remains."""

    def leftovers(self) -> list[Leftover]:
        """List what any run of this engine still has on this machine."""

    def remove(self, leftovers: Sequence[Leftover]) -> None:
        """Remove leftovers, each by its id. Raises TeardownIncomplete with what remains."""
