"""What a number of connections costs a machine, resource by resource, and the largest number that it can hold. Pure.

Each line of the arithmetic is one resource: what is needed, what there is. A resource that does not suffice is refused
with its remedy (MachineLacks, exit code 3) before anything is created.

Ports are a matter of speed before they are one of room. connect(2) tries every even port before the first odd one, so
while a client address holds fewer connections to one server address and port than half of its range, a connect finds a
port at once (some 50 us); beyond that it walks through the taken half each time (some 600 us).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import MachineLacks
from lab.inside.ring import ring_bytes_for
from lab.scenario.check import port_range
from lab.scenario.schema import Scenario
from lab.topology import Facts, Program
from lab.units import show_bytes

PAIR_BYTES = 10_550
"""Kernel memory of an open, silent connection, both ends: 10.3 KiB by measurement on Linux 6.18, 64-bit (two each of
socket, inode, directory entry, file and epoll item)."""
PROCESS_BYTES = 12 << 20
"""What a Python process of the lab takes for itself, by measurement."""
MEMORY_SHARE = 0.9
"""Of the machine's memory; the rest is the system's and the page cache's."""
FILES_A_PROCESS = 32
"""Open files of a process beside its connections."""
FILES_KEPT = 20_000
"""Open files of everything else on the machine."""
SPREAD_SIGMAS = 5
"""SO_REUSEPORT deals connections by a hash: a worker's share is binomial, with a deviation of about its root. Five of
them above the mean are passed once in some millions of deals."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One resource's word on how many connections there can be."""

    resource: str
    most: int
    remedy: str


def workers_dealt_by_hash(needed: int, room: int) -> int:
    """Return how many SO_REUSEPORT workers hold `needed` connections when each has room for `room` of them."""
    workers = max(1, -(-needed // room))
    while workers > 1 and needed / workers + SPREAD_SIGMAS * math.sqrt(needed / workers) > room and workers < needed:
        workers += 1
    return workers


def port_line(scenario: Scenario, hosts: int, most: int) -> str:
    """Return the arithmetic of ephemeral ports: `most` connections on the fullest of `hosts` client hosts."""
    assert scenario.fleet is not None
    low, high = port_range(scenario.hosts[scenario.fleet.hosts])
    ports = high - low + 1
    total = scenario.fleet.connections
    line = (
        f"clients: {total:,} connections / {hosts} hosts = {most:,} each, of {ports:,} ephemeral ports ({low}-{high})"
    )
    if most <= ports // 2:
        return f"{line}: within the {ports // 2:,} even ones, which connect(2) tries first"
    return (
        f"{line}: more than the {ports // 2:,} even ones, so connect(2) slows down tenfold; "
        f"{-(-total // (ports // 2))} hosts would not"
    )


def processes_of(programs: tuple[Program, ...]) -> int:
    """Count the processes that these programs will be: those with workers are a parent beside them."""
    return sum(1 + _workers_of(program) for program in programs)


def check_capacity(scenario: Scenario, facts: Facts, programs: tuple[Program, ...], arithmetic: list[str]) -> None:
    """Note what the connections take of the machine and the most it can hold.

    Raises MachineLacks for the scarcest resource that does not suffice.
    """
    fleet = scenario.fleet
    if fleet is None or fleet.transport != "tcp":
        return
    processes = processes_of(programs)
    if processes > facts.pids_max:
        raise MachineLacks(
            f"{processes:,} processes are needed, this machine allows {facts.pids_max:,}",
            hint="raise kernel.pid_max and the user's limit (ulimit -u), or RLIMIT_NOFILE so that fewer workers do",
        )
    arithmetic.append(f"processes: {processes:,} of {facts.pids_max:,}")
    rings = sum(capture.ring or ring_bytes_for(capture.snaplen) for capture in scenario.capture)
    fixed = processes * PROCESS_BYTES + rings
    needed = fleet.connections * PAIR_BYTES + fixed
    arithmetic.append(
        f"memory: {fleet.connections:,} pairs x {PAIR_BYTES:,} bytes of the kernel's + {processes:,} processes x "
        f"{show_bytes(PROCESS_BYTES)} + {show_bytes(rings)} of rings = {show_bytes(needed)} of "
        f"{show_bytes(facts.memory_bytes)}"
    )
    if facts.file_max is not None:
        files = 2 * fleet.connections + processes * FILES_A_PROCESS
        arithmetic.append(f"open files: 2 a pair + {FILES_A_PROCESS} a process = {files:,} of {facts.file_max:,}")
    bounds = sorted(_bounds(scenario, facts, processes, fixed), key=lambda bound: bound.most)
    if bounds[0].most < fleet.connections:
        raise MachineLacks(
            f"fleet.connections: at most {max(bounds[0].most, 0):,} on this machine, by its {bounds[0].resource}, "
            f"got {fleet.connections:,}",
            hint=bounds[0].remedy,
        )
    others = ", ".join(f"{bound.resource} {bound.most:,}" for bound in bounds)
    arithmetic.append(f"at most {bounds[0].most:,} connections here (by resource: {others})")


def _bounds(scenario: Scenario, facts: Facts, processes: int, fixed_bytes: int) -> Iterator[Bound]:
    fleet = scenario.fleet
    assert fleet is not None
    group = scenario.hosts[fleet.hosts]
    low, high = port_range(group)
    fewer = "or lower fleet.connections"
    yield Bound(
        resource="ports",
        most=group.count * (high - low + 1),
        remedy=f"raise hosts.{fleet.hosts}.count, {fewer}",
    )
    yield Bound(
        resource="memory",
        most=int((facts.memory_bytes * MEMORY_SHARE - fixed_bytes) / PAIR_BYTES),
        remedy=f"a machine with more memory, {fewer}",
    )
    if facts.file_max is not None:
        needed = 2 * fleet.connections + processes * FILES_A_PROCESS + FILES_KEPT
        yield Bound(
            resource="open files",
            most=(facts.file_max - processes * FILES_A_PROCESS - FILES_KEPT) // 2,
            remedy=f"sysctl -w fs.file-max={needed}, {fewer}",
        )


def _workers_of(program: Program) -> int:
    """Count a program's own child processes."""
    if program.role == "fleet":
        return int(json.loads(program.arguments[program.arguments.index("--plan") + 1])["workers"])
    if program.role == "server" and "--workers" in program.arguments:
        workers = int(program.arguments[program.arguments.index("--workers") + 1])
        return workers if workers > 1 else 0
    return 0
