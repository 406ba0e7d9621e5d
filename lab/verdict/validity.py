"""What the run's numbers are worth: the bottleneck by name.

`valid`              the server was what the run measured
`generator-limited`  the fleet could not do what the scenario asked: its lateness or missed arrivals say so
`kernel-limited`     a kernel queue overflowed: listen queue, socket buffers
`host-noisy`         other work took the processors: the programs waited for them

The first that holds, in the order of what spoils most. Kinds are evidence about rates and times; counts stay counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab import units
from lab.verdict.observe import Evidence

OVERFLOWS = ("TcpExt.ListenOverflows", "TcpExt.ListenDrops", "Udp.RcvbufErrors", "TcpExt.TCPBacklogDrop")
OTHERS_SHARE = 0.4
"""CPU time of programs that are not of this run above this share makes times doubtful. The lab itself, the engine and
the kernel's own threads stay well below it on two processors (0.1 to 0.2 on an otherwise idle machine)."""
STOLEN_SHARE = 0.05
"""CPU time taken by other guests of the machine (steal) above this share makes times doubtful."""


def validity(evidence: Evidence) -> tuple[str, list[str]]:
    """Return the kind and the reasons, in words with numbers."""
    generator = list(_generator(evidence))
    if generator:
        return "generator-limited", generator
    kernel = list(_kernel(evidence))
    if kernel:
        return "kernel-limited", kernel
    noisy = list(_noise(evidence))
    if noisy:
        return "host-noisy", noisy
    return "valid", []


def _generator(evidence: Evidence) -> Iterator[str]:
    missed = evidence.fleet_sum("arrivals.not_started")
    if missed:
        yield f"{units.show_count(missed)} planned arrivals were not started"
    for host, fleet in evidence.fleets.items():
        for phase in fleet.get("phases", []):
            for reason in phase.get("generator_limited", []):
                yield f"{host}: {phase['phase']}: {reason}"


def _kernel(evidence: Evidence) -> Iterator[str]:
    for host in evidence.hosts:
        readings = evidence.counters(host)
        if readings is None:
            continue
        before, after = readings
        for name in OVERFLOWS:
            grown = after.get(name, 0) - before.get(name, 0)
            if grown:
                yield f"{host}: {name} grew by {units.show_count(grown)}"


def _noise(evidence: Evidence) -> Iterator[str]:
    """Compare the machine's processor time with what this run's programs used, from the first reading to the last."""
    readings = next((r for host in evidence.hosts if (r := evidence.counters(host)) is not None), None)
    if readings is None or "Cpu.total_ns" not in readings[1]:
        return
    grown = {name: readings[1][name] - readings[0].get(name, 0) for name in readings[1] if name.startswith("Cpu.")}
    total = grown["Cpu.total_ns"]
    if total <= 0:
        return
    stolen = grown["Cpu.steal_ns"] / total
    if stolen > STOLEN_SHARE:
        yield f"{stolen:.0%} of the processors' time went to other guests of this machine"
    others = (sum(grown[f"Cpu.{name}_ns"] for name in ("user", "nice", "system")) - _own_cpu_ns(evidence)) / total
    if others > OTHERS_SHARE:
        yield f"{others:.0%} of the processors' time went to programs that are not of this run"


def _own_cpu_ns(evidence: Evidence) -> int:
    """Sum the CPU time of the run's server, fleets and captures; a program without a result adds nothing."""
    used = [evidence.server.get("usage"), *(capture.get("usage") for capture in evidence.captures.values())]
    used += [worker for fleet in evidence.fleets.values() for worker in fleet.get("workers", [])]
    return sum(part["cpu_user_ns"] + part["cpu_system_ns"] for part in used if part)
