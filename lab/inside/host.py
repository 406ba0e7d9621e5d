"""The host keeper: the first program of a host, which owns its network stack and watches the kernel's counters.

    python -m lab.inside.host --name server --offloads off

A network stack lives as long as a process is in it. Programs that join a stack (server, fleet, capture sidecar) may end
and be started anew; the keeper stays, so that addresses, sockets in TIME-WAIT and counters survive them.

On start it switches the offloads as asked (`offloads.py`), gives up every capability, and reports what the host is:
interfaces, sysctls, limits, kernel. It then samples the kernel's counters (`counters.py`) into `counters.jsonl`, one
JSON object a line, and on each SIGUSR1 emits them as an event `counters` with a growing `sequence`: one just before
the traffic and one just after it bracket a run exactly. On SIGTERM it takes a last sample and writes `host.json`: the
facts, and the counters first, last, and their difference. In all of these a counter that is absent is 0, but in
`counters_first`, which is whole: a name that is absent there this kernel does not have.

With `--memory` each sample of the period is followed by one of the machine's memory (`memory.py`) in `memory.jsonl`.
One keeper of a lab is enough for that: all of them would read the same.

It sleeps between samples; a sample costs about a millisecond.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from lab.inside import counters, lifecycle, memory
from lab.inside.interfaces import read_interfaces
from lab.inside.offloads import read_offloads, switch_offloads
from lab.inside.privileges import drop_capabilities

PROGRAM = "host"
EXIT_MACHINE_LACKS = 3
_LOOPBACK = "lo"
_INTERFACE_BOUND_S = 10.0

_SYSCTLS = (
    "net/core/*",
    "net/ipv4/*",
    "net/ipv4/conf/all/*",
    "net/netfilter/nf_conntrack_max",
    "kernel/pid_max",
    "fs/nr_open",
)
"""Below /proc/sys. Those of net/ are this stack's own; the others the machine's."""

_LIMITS = ("NOFILE", "NPROC", "MEMLOCK", "AS", "STACK", "RTPRIO", "SIGPENDING")


class _Keeper:
    """Counts SIGUSR1 and writes samples."""

    def __init__(self, file: TextIO, memory_file: TextIO | None) -> None:
        self._file = file
        self._memory = memory_file
        self._asked = 0
        self._answered = 0
        signal.signal(signal.SIGUSR1, self._ask)
        self.first = self.last = self.sample()
        self.sample_memory()

    def _ask(self, _signal: int, _frame: object) -> None:
        self._asked += 1

    def sample(self) -> counters.Counters:
        """Read the counters and append them to the file."""
        self.last = counters.read_counters()
        stamps = {"t_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._file.write(json.dumps({**stamps, "counters": counters.nonzero(self.last)}, separators=(",", ":")) + "\n")
        return self.last

    def sample_memory(self) -> None:
        """Append how the machine's memory is used now, and how many sockets this stack has, if that was asked for."""
        if self._memory is None:
            return
        stack = {name: n for name, n in self.last.items() if name.startswith("sockstat.TCP.")}
        stamps = {"t_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._memory.write(json.dumps({**stamps, **memory.read_memory(), "stack": stack}, separators=(",", ":")) + "\n")

    def answer(self) -> None:
        """Emit one `counters` event for each SIGUSR1 since the last time."""
        while self._answered < self._asked:
            self._answered += 1
            lifecycle.emit(
                "counters",
                sequence=self._answered,
                monotonic_ns=time.monotonic_ns(),
                counters=counters.nonzero(self.sample()),
            )


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    signals = lifecycle.Signals()
    try:
        _await_interfaces(options.interface, signals)
        if options.offloads is not None:
            for interface in read_interfaces():
                if interface != _LOOPBACK:
                    switch_offloads(interface, on=options.offloads == "on")
    except (TimeoutError, PermissionError) as error:
        lifecycle.say(f"host: {error}")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    out = lifecycle.out_folder()
    facts = {"name": options.name, **host_facts()}
    (out / "host.json").write_text(json.dumps(facts, indent=1) + "\n")
    with ExitStack() as files:
        file = files.enter_context(open(out / "counters.jsonl", "w", buffering=1))
        ledger = files.enter_context(open(out / "memory.jsonl", "w", buffering=1)) if options.memory else None
        keeper = _Keeper(file, ledger)
        lifecycle.ready(PROGRAM, **facts)
        _keep(keeper, signals, options.sample / 1e9)
        keeper.sample()
        keeper.sample_memory()
    lifecycle.write_result(
        PROGRAM,
        {
            **facts,
            "counters_first": keeper.first,  # whole, zeros too: the names of all counters this kernel has
            "counters_last": counters.nonzero(keeper.last),
            "counters_delta": counters.difference(keeper.first, keeper.last),
            "usage": lifecycle.usage(),
        },
    )
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="host", description="Keep a host's network stack, and sample its counters.")
    parser.add_argument("--name", default=os.uname().nodename)
    parser.add_argument("--offloads", choices=("on", "off"), default=None, help="switch them; else leave as they are")
    parser.add_argument("--sample", type=int, default=1_000_000_000, metavar="NS", help="time between samples")
    parser.add_argument("--memory", action="store_true", help="sample the machine's memory too")
    parser.add_argument("--interface", action="append", default=[], help="wait for it to be up before going on; repeat")
    options = parser.parse_args(arguments)
    if options.sample < 1_000_000:
        parser.error(f"--sample: at least 1000000 ns, got {options.sample}")
    return options


def _await_interfaces(names: list[str], signals: lifecycle.Signals) -> None:
    """Wait until the interfaces are there and up.

    Raises: TimeoutError, saying which are missing.
    """
    deadline = time.monotonic() + _INTERFACE_BOUND_S
    while missing := [name for name in names if not read_interfaces().get(name, {}).get("up")]:
        if time.monotonic() > deadline or signals.stopping:
            there = ", ".join(read_interfaces())
            raise TimeoutError(f"not up after {_INTERFACE_BOUND_S:g} s: {', '.join(missing)}; there are: {there}")
        signals.wait(0.01)


def _keep(keeper: _Keeper, signals: lifecycle.Signals, period_s: float) -> None:
    """Sample at every period, and whenever asked, until the stop."""
    due = time.monotonic() + period_s
    while not signals.stopping:
        signals.wait(max(0.0, due - time.monotonic()))
        _reap()
        keeper.answer()
        if time.monotonic() >= due:
            keeper.sample()
            keeper.sample_memory()
            due = max(due + period_s, time.monotonic())
    keeper.answer()


def _reap() -> None:
    """Bury orphans: in a container the keeper is process 1, and they become its children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def host_facts() -> dict[str, Any]:
    """What this host is: interfaces (with offloads read back), sysctls, limits, kernel, processors, memory, cgroup."""
    machine = os.uname()
    interfaces = read_interfaces()
    for name, interface in interfaces.items():
        interface["offloads"] = read_offloads(name)
    return {
        "interfaces": interfaces,
        "sysctls": _sysctls(),
        "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in _LIMITS},
        "kernel": f"{machine.sysname} {machine.release} {machine.machine}",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cgroup": Path("/proc/self/cgroup").read_text().strip(),
    }


def _sysctls() -> dict[str, str]:
    """The settings of this network stack by sysctl name; those this process may not read are left out."""
    root = Path("/proc/sys")
    settings: dict[str, str] = {}
    for pattern in _SYSCTLS:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and os.access(path, os.R_OK):
                try:
                    text = path.read_text()
                except OSError:  # readable by its mode, refused by its handler
                    continue
                settings[".".join(path.relative_to(root).parts)] = " ".join(text.split())
    return settings


if __name__ == "__main__":
    sys.exit(main())
