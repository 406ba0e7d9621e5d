"""What the run's numbers are worth: the bottleneck by name.

`valid`              the server was what the run measured
`generator-limited`  the fleet could not do what the scenario asked: its lateness or missed arrivals say so
`kernel-limited`     a kernel queue overflowed: listen queue, socket buffers
`host-noisy`         other work took the processors: the programs waited for them

The first that holds, in the order of what spoils most. Kinds are evidence about rates and times; counts stay counts.
"""

from __future__ import annotations

from typing import Any

from lab import units
from lab.verdict.observe import Evidence

LATE_NS = 10_000_000
"""A generator whose sends are late by more than this at p99 did not offer the load it planned (timerfd: 60 us late)."""
OVERFLOWS = ("TcpExt.ListenOverflows", "TcpExt.ListenDrops", "Udp.RcvbufErrors", "TcpExt.TCPBacklogDrop")
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


def _generator(evidence: Evidence) -> Any:
    missed = evidence.fleet_sum("arrivals.not_started")
    if missed:
        yield f"{units.show_count(missed)} planned arrivals were not started"
    for host, fleet in evidence.fleets.items():
        for phase in fleet.get("phases", []):
            late = phase["lateness"]["p99_ns"]
            if late is not None and late > LATE_NS:
                yield f"{host}: {phase['phase']}: starts were late by {units.show_duration(late)} at p99"
            for reason in phase.get("generator_limited", []):
                yield f"{host}: {phase['phase']}: {reason}"


def _kernel(evidence: Evidence) -> Any:
    for host in evidence.hosts:
        readings = evidence.counters(host)
        if readings is None:
            continue
        before, after = readings
        for name in OVERFLOWS:
            grown = after.get(name, 0) - before.get(name, 0)
            if grown:
                yield f"{host}: {name} grew by {units.show_count(grown)}"


def _noise(evidence: Evidence) -> Any:
    for host in evidence.hosts[:1]:
        readings = evidence.counters(host)
        if readings is None:
            continue
        before, after = readings
        total = after.get("Cpu.total_ns", 0) - before.get("Cpu.total_ns", 0)
        stolen = after.get("Cpu.steal_ns", 0) - before.get("Cpu.steal_ns", 0)
        if total and stolen / total > STOLEN_SHARE:
            yield f"{stolen / total:.0%} of the processors' time went to other guests of this machine"
