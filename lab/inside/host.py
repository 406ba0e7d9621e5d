"""The host keeper: the first program of a host, which owns its network stack and watches the kernel's counters.

    python -m lab.inside.host --name server --offloads off

A network stack lives as long as a process is in it. Programs that join a stack (server, fleet, capture sidecar) may end
and be started anew; the keeper stays, so that addresses, sockets in TIME-WAIT and counters survive them.

On start it switches the offloads as asked (`offloads.py`), with `--isolated` takes the way out of the lab away
(`default_route.py`), gives up every capability, and reports what the host is: interfaces, sysctls, limits, kernel. It
then samples the kernel's counters (`counters.py`) into `counters.jsonl`, one JSON object a line, and on each SIGUSR1
emits them as an event `counters` with a growing `sequence`: one just before the traffic and one just after it bracket a
run exactly. On SIGUSR2 it takes a last sample and writes `host.json`: the facts, and the counters first, last, and
their difference; from then on it only keeps the stack, until SIGTERM (which without SIGUSR2 before does both). In all
of these a counter that is absent is 0, but in `counters_first`, which is whole: a name that is absent there this kernel
does not have.

With `--memory` each sample of the period is followed by one of the machine's memory (`memory.py`) in `memory.jsonl`.
One keeper of a lab is enough for that: all of them would read the same.

It sleeps between samples; a sample costs about a millisecond.
"""

from __future__ import annotations

import os
import resource
import time

from lab.inside import counters, lifecycle, memory
from lab.inside.arguments import Option, number, one_of, read_arguments
from lab.inside.default_route import remove_default_routes
from lab.inside.interfaces import read_interfaces
from lab.inside.offloads import read_offloads, switch_offloads
from lab.inside.privileges import drop_capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

PROGRAM = "host"
EXIT_MACHINE_LACKS = 3
_LOOPBACK = "lo"
_INTERFACE_BOUND_S = 10.0

_SYSCTLS = ("net/core", "net/ipv4", "net/ipv4/conf/all")
"""Folders below /proc/sys whose files are this stack's settings."""
_SYSCTLS_TOO = ("net/netfilter/nf_conntrack_max", "kernel/pid_max", "fs/nr_open")
"""Single ones; the latter two are the machine's."""

OPTIONS = [
    Option("name", "the host, for the result; else what it calls itself"),
    Option("offloads", "on or off: switch them; else leave them as they are", read=one_of("on", "off")),
    Option("sample", "nanoseconds between samples", read=number(1_000_000), default=1_000_000_000),
    Option("memory", "sample the machine's memory too", read=None),
    Option("isolated", "remove default routes: there is no way out of the lab", read=None),
    Option("interface", "wait for it to be up before going on", repeat=True),
]

_LIMITS = ("NOFILE", "NPROC", "MEMLOCK", "AS", "STACK", "RTPRIO", "SIGPENDING")


class _Keeper:
    """Counts SIGUSR1 and writes samples."""

    def __init__(self, file: TextIO, memory_file: TextIO | None) -> None:
        self._file = file
        self._memory = memory_file
        self._answered = 0
        self.settled = False
        """Whether the result was asked for: then it is given, and only the network stack is kept on."""
        self.first = self.last = self.sample()
        self.sample_memory()

    def settle(self) -> None:
        """Let the result be given."""
        self.settled = True

    def sample(self) -> counters.Counters:
        """Read the counters and append them to the file."""
        self.last = counters.read_counters()
        stamps = {"t_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._file.write(lifecycle.to_json({**stamps, "counters": counters.nonzero(self.last)}) + "\n")
        return self.last

    def sample_memory(self) -> None:
        """Append how the machine's memory is used now, and how many sockets this stack has, if that was asked for."""
        if self._memory is None:
            return
        stack = {name: n for name, n in self.last.items() if name.startswith("sockstat.TCP.")}
        stamps = {"t_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._memory.write(lifecycle.to_json({**stamps, **memory.read_memory(), "stack": stack}) + "\n")

    def answer(self, asked: int) -> None:
        """Emit one `counters` event for each of the `asked` SIGUSR1 that has had none."""
        while self._answered < asked:
            self._answered += 1
            lifecycle.emit(
                "counters",
                sequence=self._answered,
                monotonic_ns=time.monotonic_ns(),
                counters=counters.nonzero(self.sample()),
            )


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(PROGRAM, "Keep a host's network stack, and sample its counters.", OPTIONS, arguments)
    signals = lifecycle.Signals()
    try:
        _await_interfaces(options["interface"], signals)
        if options["offloads"] is not None:
            for interface in read_interfaces():
                if interface != _LOOPBACK:
                    switch_offloads(interface, on=options["offloads"] == "on")
        if options["isolated"]:
            remove_default_routes()
    except (TimeoutError, PermissionError) as error:
        lifecycle.say(f"host: {error}")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    facts = {"name": options["name"] or os.uname().nodename, **host_facts()}
    lifecycle.store_result(PROGRAM, facts)
    ledger = open(lifecycle.out_path("memory.jsonl"), "w", buffering=1) if options["memory"] else None  # noqa: SIM115
    with open(lifecycle.out_path("counters.jsonl"), "w", buffering=1) as file:
        keeper = _Keeper(file, ledger)
        signals.on_usage = keeper.settle
        lifecycle.ready(PROGRAM, **facts)
        _keep(keeper, signals, options["sample"] / 1e9)
        keeper.sample()
        keeper.sample_memory()
    if ledger is not None:
        ledger.close()
    _conclude(keeper, facts)
    while not signals.stopping:
        signals.wait()
        _reap()
    return 0


def _conclude(keeper: _Keeper, facts: dict[str, Any]) -> None:
    """Store and tell the result: the counters from first to last."""
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
    """Sample at every period, and whenever asked, until the stop or until the result is wanted."""
    due = time.monotonic() + period_s
    while not signals.stopping and not keeper.settled:
        signals.wait(max(0.0, due - time.monotonic()))
        _reap()
        keeper.answer(signals.opened)
        if time.monotonic() >= due:
            keeper.sample()
            keeper.sample_memory()
            due = max(due + period_s, time.monotonic())
    keeper.answer(signals.opened)


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
    with open("/proc/self/cgroup") as file:
        cgroup = file.read().strip()
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
        "cgroup": cgroup,
    }


def _sysctls() -> dict[str, str]:
    """The settings of this network stack by sysctl name; those this process may not read are left out."""
    names = [f"{folder}/{name}" for folder in _SYSCTLS for name in sorted(os.listdir(f"/proc/sys/{folder}"))]
    settings: dict[str, str] = {}
    for name in (*names, *_SYSCTLS_TOO):
        try:
            descriptor = os.open(f"/proc/sys/{name}", os.O_RDONLY)
        except OSError:  # absent here, or write-only
            continue
        try:
            text = os.read(descriptor, 65536)
        except OSError:  # a folder; or readable by its mode, refused by its handler
            continue
        finally:
            os.close(descriptor)
        settings[name.replace("/", ".")] = " ".join(text.decode().split())
    return settings


if __name__ == "__main__":
    os._exit(main())  # the results are written and standard output has no buffer: nothing is left to tidy up
