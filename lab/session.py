"""One run: plan, up, ready barrier, traffic phase by phase or turn by turn, drain, collect, always down.

The session knows no container and no namespace: it drives an `Engine` and reads the programs' events. The order is
what makes the evidence whole:

1. hosts up; captures, server and fleets started; everybody reports ready before the first packet;
2. the kernel's counters are read in each host;
3. each phase begins at a barrier that all fleet hosts pass together, and ends when the last one has reported; a
   script's turns go the same way, one program at a time, until one goes otherwise than written;
4. the server drains and ends; the hosts are watched until the kernel's counters stand still;
5. the counters are read again, and only then are the captures stopped, which drain their rings first; scripted
   programs end after them, so that what the kernel does with the sockets of an ended process is not recorded;
6. everything is collected, and everything the run created is removed, whatever happened before.

A program that ends early, or does not report in time, fails the run with its last words.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from lab.engines import Engine, SubnetTaken
from lab.errors import LabError, RunFailed
from lab.hearing import Hearing
from lab.manifest import write_manifest
from lab.progress import Progress
from lab.scenario.load import Loaded
from lab.scenario.traffic import phase_budget_ns
from lab.store import Run
from lab.topology import Facts, Topology
from lab.topology.plan import plan
from lab.topology.script_plan import Turn, turns

READY_TIMEOUT_S = 60.0
"""A program that has not reported ready by then never will: containers start in seconds even on slow disks."""
STOP_TIMEOUT_S = 120.0
"""A capture of gigabytes is converted within this; a server has drained long before."""
QUIET_INTERVAL_S = 0.05
"""The kernel's counters must not move for this long before the captures are stopped."""
QUIET_TIMEOUT_S = 5.0
"""A network that is not quiet by then (retransmissions into nowhere) is stopped all the same; the verdict sees it."""
USAGE_TIMEOUT_S = 5.0
"""A server that does not say what it has used by then computes without end; the phase after goes on without."""
USAGE_TIMEOUT_S_A_CONNECTION = 30e-6
"""And so much more: clients are connected when the kernel says so, and the server has to accept them all first."""
SUBNET_TRIES = 8
COLLECT_AT_ONCE = 8
"""Hosts whose files are copied at the same time: an engine takes a tenth of a second for each, mostly waiting."""

DRIVERS = ("fleet", "actor", "crafter", "switch")
"""Roles that drive traffic: `lab up` leaves them out."""

QUIET_COUNTERS = ("Tcp.InSegs", "Tcp.OutSegs", "Udp.InDatagrams", "Udp.OutDatagrams")


class Companion(Protocol):
    """Work that goes on beside a run, in the lab's own time."""

    def before_traffic(self) -> None:
        """All programs are ready: whatever would disturb a measurement must be over when this returns."""

    def collected(self, run: Run) -> None:
        """All results stand in the run's folder; its hosts are removed next."""


class Session:
    """Drives one run on one engine: `execute` does it all, `bring_up` and `bring_down` are its halves for `lab up`."""

    def __init__(self, loaded: Loaded, engine: Engine, run: Run, progress: Progress) -> None:
        self.loaded = loaded
        self.engine = engine
        self.run = run
        self.progress = progress
        self.began = time.monotonic()
        self.timing_s: dict[str, float] = {}
        self.topology: Topology | None = None
        self._hearing = Hearing(engine, run, progress)
        self._running: set[str] = set()
        """Programs that were started, here or by the process that left this lab up."""

    @property
    def _salt(self) -> int:
        """Where the search for free subnets begins: elsewhere for each run, so that runs side by side rarely race."""
        return int(self.run.id[-6:], 16)

    # --- the whole -----------------------------------------------------------------------------------------------

    def execute(self, companion: Companion | None = None) -> None:
        """Run the scenario and leave its results in the run folder; nothing of it is left on the machine.

        Raises LabError; KeyboardInterrupt passes through after everything has been removed.
        """
        try:
            self.bring_up(with_fleet=True, companion=companion)
            with self._timed("traffic"):
                self._traffic()
            with self._timed("drain"):
                self._stop_programs()
            with self._timed("collect"):
                self._collect()
            if companion is not None:
                companion.collected(self.run)
        except LabError:
            self._salvage()
            raise
        finally:
            self.bring_down()

    def bring_up(self, *, with_fleet: bool, companion: Companion | None = None) -> None:
        """Plan, create the hosts, start the programs, wait until all are ready; the counters are read once.

        They are read after the companion has become quiet: its work is not noise beside the traffic.
        """
        self.progress.stage(f"{self.engine.name}: looking at this machine")
        with self._timed("start"):  # what looks at the machine from inside the hosts' image builds it first
            facts = self.engine.facts()
        with self._timed("plan"):
            self.topology = plan(self.loaded, facts, salt=self._salt)
        with self._timed("prepare"):
            self.progress.stage("images")
            identities = self.engine.prepare(self.topology, self.progress.say)
        with self._timed("up"):
            self._create_hosts(facts)
        assert self.topology is not None
        write_manifest(self.run, self.loaded, facts, self.topology, identities)
        with self._timed("ready"):
            programs = [p for p in self.topology.programs if p.role != "host" and (with_fleet or p.role not in DRIVERS)]
            self.progress.stage(f"starting {len(programs)} programs")
            self.engine.start(programs)
            self._running = {p.name for p in (*self.topology.of_role("host"), *programs)}
            names = [p.name for p in (*self.topology.of_role("host"), *programs)]
            self._hearing.wait(names, lambda heard: heard.ready is not None, READY_TIMEOUT_S, "ready")
        if companion is not None:
            with self._timed("analysis"):
                companion.before_traffic()
        with self._timed("ready"):
            self._read_counters()

    def bring_down(self) -> None:
        """Remove everything the run created. A Ctrl-C meanwhile waits until it is done."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with self._timed("down"):
                self.progress.stage("removing the hosts")
                self.engine.down()
        finally:
            signal.signal(signal.SIGINT, before)
            self._hearing.close()

    def stop_and_collect(self) -> None:
        """End the programs of a lab that `lab up` left running (all but the fleet), and take their results."""
        assert self.topology is not None
        self._running = {p.name for p in self.topology.programs if p.role not in DRIVERS}
        with self._timed("drain"):
            self._stop_programs()
        with self._timed("collect"):
            self._collect()

    # --- stages --------------------------------------------------------------------------------------------------

    def _create_hosts(self, facts: Facts) -> None:
        assert self.topology is not None
        for attempt in range(SUBNET_TRIES):
            self.progress.stage(f"{len(self.topology.hosts)} hosts")
            self.run.write_text("scenario.yaml", self.loaded.to_yaml())
            self.run.write_json("topology.json", self.topology.to_json())
            try:
                self.engine.up(self.topology, run_id=self.run.id, run_folder=self.run.folder, say=self.progress.say)
                return
            except SubnetTaken:
                if any(n.subnet != "auto" for n in self.loaded.scenario.networks.values()):
                    subnets = ", ".join(n.subnet for n in self.topology.networks)
                    raise RunFailed(
                        f"the scenario's subnet is in use on this machine, got {subnets}",
                        hint="set networks.<name>.subnet: auto, or remove the network that uses it",
                    ) from None
                facts = self.engine.facts()
                self.topology = plan(self.loaded, facts, salt=self._salt + attempt + 1)
        raise RunFailed(f"no subnet stayed free in {SUBNET_TRIES} tries", hint="give networks.<name>.subnet")

    def _traffic(self) -> None:
        assert self.topology is not None
        scenario = self.loaded.scenario
        phases = iter(range(len(scenario.fleet.phases)) if scenario.fleet is not None else ())
        script = turns(scenario)
        self._usage(0)
        for number, turn in enumerate(script):
            if turn.program is None:
                self._phase(next(phases))
                continue
            self.progress.stage(f"step {turn.steps[0] + 1} of {len(scenario.script)}: {turn.text}")
            if not self._turn(turn.program, turn):
                left = sum(len(later.steps) for later in script[number + 1 :])
                self.progress.say(f"the script went otherwise than written; {left} later steps are not made")
                break
        for index in phases:
            self._phase(index)
        fleets = [p.name for p in self.topology.of_role("fleet")]
        self._hearing.wait(
            fleets, lambda heard: heard.exit_code is not None, STOP_TIMEOUT_S, "the end of the fleet", may_end=True
        )
        self._hearing.refuse_failures(fleets)

    def _phase(self, index: int) -> None:
        """Let all fleet hosts run their next phase, to its end."""
        assert self.topology is not None
        assert self.loaded.scenario.fleet is not None
        fleets = [p.name for p in self.topology.of_role("fleet")]
        phases = self.loaded.scenario.fleet.phases
        self.progress.stage(f"{phases[index].phase} ({index + 1} of {len(phases)})")
        self.engine.signal(fleets, "USR1")
        self._hearing.wait(
            fleets,
            lambda heard: heard.phases_ended > index,
            phase_budget_ns(self.loaded.scenario, index) / 1e9,
            f"the end of phase {index + 1} ({phases[index].phase})",
            may_end=True,
        )
        self._usage(index + 1)

    def _turn(self, program: str, turn: Turn) -> bool:
        """Let one program make its next steps; False when a step, here or in the background, was not as written."""

        def wrong() -> bool:
            return any(
                not step["as_written"] for heard in self._hearing.heard.values() for step in heard.steps.values()
            )

        self.engine.signal([program], "USR1")
        last = turn.steps[-1]
        self._hearing.wait(
            [program],
            lambda heard: last in heard.steps or wrong(),
            turn.budget_ns / 1e9,
            f"the end of step {last + 1} ({turn.text})",
        )
        return not wrong()

    def _usage(self, reading: int) -> None:
        """Ask each server what it has used so far, and wait for the answer: the next phase must not be in it."""
        assert self.topology is not None
        self._hearing.reading = reading
        servers = {p.name for p in self.topology.of_role("server")}
        self.engine.signal(sorted(servers), "USR2")
        fleet = self.loaded.scenario.fleet
        patience_s = USAGE_TIMEOUT_S + (fleet.connections * USAGE_TIMEOUT_S_A_CONNECTION if fleet is not None else 0)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            servers -= {n for n in servers if any(u["reading"] == reading for u in self._hearing.heard[n].usages)}
            servers -= {n for n in servers if self._hearing.heard[n].exit_code is not None}
            if not servers:
                return
            self._hearing.listen_once(0.1)
        self.progress.say(f"no answer within {patience_s:.3g} s to what was used: {', '.join(sorted(servers))}")

    def _stop_programs(self) -> None:
        assert self.topology is not None
        for role in ("fleet", "server", "capture", "actor", "crafter", "switch", "host"):
            names = [p.name for p in self.topology.of_role(role)]
            names = [n for n in names if n in self._running and self._hearing.heard[n].exit_code is None]
            if role in ("server", "capture"):
                # When the fleet has ended, its last FINs are still on their way: let the server see them; and let the
                # captures see what a server that drains still sends.
                self._wait_until_quiet()
            if not names:
                continue
            self.progress.stage(
                {"capture": "draining the captures", "host": "last counters"}.get(role, f"stopping {role}")
            )
            if role == "host":
                # Keepers live on until they are removed: their end takes the hosts' network stacks with it, and while
                # Docker is at that (half a second each) it hands out no file of that host.
                self.engine.signal(names, "USR2")
                self._hearing.wait(names, lambda heard: heard.result is not None, STOP_TIMEOUT_S, "its result")
                continue
            self.engine.signal(names, "TERM")
            self._hearing.wait(
                names, lambda heard: heard.exit_code is not None, STOP_TIMEOUT_S, "its end", may_end=True
            )
            self._hearing.refuse_failures(names)

    def _wait_until_quiet(self) -> None:
        """Read the hosts' counters until no segment and no datagram moves any more."""
        self.progress.stage("waiting for the network to fall silent")
        deadline = time.monotonic() + QUIET_TIMEOUT_S
        last = self._read_counters()
        while time.monotonic() < deadline:
            self._hearing.listen(QUIET_INTERVAL_S)
            now = self._read_counters()
            if now == last:
                return
            last = now

    def _read_counters(self) -> list[tuple[int, ...]]:
        """Have each host keeper read its kernel's counters now; return those that tell whether anything moves."""
        assert self.topology is not None
        keepers = [p.name for p in self.topology.of_role("host")]
        before = {name: len(self._hearing.heard[name].counters) for name in keepers}
        self.engine.signal(keepers, "USR1")
        self._hearing.wait(
            keepers,
            None,
            READY_TIMEOUT_S,
            "kernel counters",
            by_name=lambda n: len(self._hearing.heard[n].counters) > before[n],
        )
        return [
            tuple(int(self._hearing.heard[name].counters[-1]["counters"].get(key, 0)) for key in QUIET_COUNTERS)
            for name in keepers
        ]

    def _collect(self) -> None:
        assert self.topology is not None
        self.progress.stage("collecting results")
        folders = {host.name: self.run.folder / "hosts" / host.name for host in self.topology.hosts}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(COLLECT_AT_ONCE, thread_name_prefix="collect") as pool:
            for _ in pool.map(self.engine.collect, folders.keys(), folders.values()):
                pass
        for name, folder in folders.items():
            capture = folder / "capture.pcapng"
            if capture.exists():
                capture.replace(self.run.folder / "captures" / f"{name}.pcapng")
            heard = {
                "counters": self._hearing.heard[f"{name}/host"].counters,
                "usage": {
                    program: heard.usages
                    for program, heard in self._hearing.heard.items()
                    if program.startswith(f"{name}/") and heard.usages
                },
            }
            self.run.write_json(f"hosts/{name}/observed.json", heard)

    def _salvage(self) -> None:
        """After a failure take what can be had for whoever looks into it; never hide the failure itself."""
        if self.topology is None:
            return
        try:
            self._collect()
        except (LabError, OSError) as error:
            self.progress.say(f"some results could not be collected: {error}")

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.timing_s[stage] = round(self.timing_s.get(stage, 0.0) + time.monotonic() - started, 3)
