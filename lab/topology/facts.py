"""What a machine allows, as an engine found it: the planner's only knowledge of the outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Limits and identity of the machine that an engine would build hosts on; probed, never assumed."""

    engine: str
    """`compose`, `netns` or `swarm`."""
    engine_version: str
    """For people and the manifest, e.g. `Docker 28.2.2, docker compose 2.26.1`."""
    kernel: str
    """`uname -r` where the hosts run."""
    architecture: str
    """`uname -m` where the hosts run."""
    cpus: int
    memory_bytes: int
    nofile_hard: int
    """Descriptors one process inside a host may hold (RLIMIT_NOFILE, hard)."""
    pids_max: int
    """Processes and threads all hosts together may have."""
    conntrack_max: int | None
    """Connections that connection tracking on the hosts' path can hold; None where nothing tracks them."""
    port_range: tuple[int, int]
    """Default ephemeral ports of a new host, both ends included (net.ipv4.ip_local_port_range)."""
    taken_subnets: tuple[str, ...]
    """IPv4 subnets that routes and networks of the machine use already."""
    file_max: int | None = None
    """Open files all processes of the machine together may have (fs.file-max); None where it cannot be read."""
    missing: tuple[str, ...] = ()
    """What a scenario might want and this machine lacks, by its name in `LACKING`."""


LACKING: dict[str, tuple[str, str]] = {
    "netem": (
        "links cannot be made slow or lossy by the kernel; no scenario here needs it, a relay host does it",
        "sudo modprobe sch_netem, where the kernel has that module",
    ),
    "io_uring": (
        "the I/O model io-uring cannot run",
        "sudo sysctl kernel.io_uring_disabled=0; newer Docker engines refuse it to containers: --engine netns",
    ),
    "limits": (
        "hosts cannot be given a share of processors or memory (`cpus`, `memory` of a host)",
        "run as root, or use --engine compose",
    ),
}
"""Name -> what its absence means, and what can be done about it."""
