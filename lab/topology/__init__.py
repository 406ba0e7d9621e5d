"""A scenario turned into hosts, addresses, programs and limits: plain frozen values that an engine can build.

Everything an engine needs stands here; everything that depends on the engine comes in as `Facts`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lab.topology.facts import Facts

__all__ = ["Facts", "Host", "Interface", "Network", "Program", "Topology"]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One Ethernet segment: a bridge that hosts are joined to."""

    name: str
    subnet: str
    """IPv4 in CIDR form, e.g. `10.64.3.0/24`. The first address is left to the engine's gateway, where it has one."""
    mtu: int


@dataclass(frozen=True, kw_only=True)
class Interface:
    """One host's place on a network."""

    name: str
    """Inside the host: `eth0` for its first network, `eth1` for the next, in the scenario's order."""
    network: str
    address: str
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Host:
    """A network stack of its own: a container that is never restarted, or a namespace."""

    name: str
    """Its hostname too: `server`, `client-1`."""
    interfaces: tuple[Interface, ...]
    sysctls: dict[str, str]
    """Namespaced sysctls to set before anything runs, e.g. `net.ipv4.tcp_fin_timeout: "5"`."""
    cpus: float | None = None
    """At most this many CPUs for each program in it; None: no limit."""
    memory_bytes: int | None = None
    """At most this much memory for each program in it; None: no limit."""

    def route_to(self, other: Host) -> tuple[str, str]:
        """Return this host's and the other's address on a network they share, else their first ones."""
        for mine in self.interfaces:
            for theirs in other.interfaces:
                if mine.network == theirs.network:
                    return mine.address, theirs.address
        return self.interfaces[0].address, other.interfaces[0].address


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program inside one host; `python -m <module> <arguments>`."""

    host: str
    role: str
    """`host` (the keeper: owns the stack, samples counters), `server`, `fleet`, `capture`, or of a script `actor`
    (makes its socket calls), `crafter` (makes segments by hand) and `switch` (passes frames on)."""
    module: str
    arguments: tuple[str, ...]
    image: str = "host"
    """The folder under images/ with what the program needs: `host` is Python alone."""
    capabilities: tuple[str, ...] = ()
    """All a container keeps, e.g. `NET_RAW`; everything else is dropped."""
    nofile: int | None = None
    """RLIMIT_NOFILE, soft and hard; None: what the engine gives."""

    @property
    def name(self) -> str:
        """Unique in a topology: `server/capture`."""
        return f"{self.host}/{self.role}"


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All that an engine builds for one run."""

    scenario: str
    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]
    programs: tuple[Program, ...]
    """Host keepers first, then captures, servers, fleets, scripted ones: a later one may need an earlier one."""
    arithmetic: tuple[str, ...] = field(default=())
    """How the numbers came about, one line each, for `lab plan`."""

    def host(self, name: str) -> Host:
        """Return the host of that name. Raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def of_role(self, role: str) -> tuple[Program, ...]:
        """Return the programs of one role, in order."""
        return tuple(p for p in self.programs if p.role == role)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as stored in `topology.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Topology:
        """Rebuild what `to_json` gave."""
        return cls(
            scenario=data["scenario"],
            networks=tuple(Network(**n) for n in data["networks"]),
            hosts=tuple(
                Host(**{**h, "interfaces": tuple(Interface(**i) for i in h["interfaces"])}) for h in data["hosts"]
            ),
            programs=tuple(
                Program(**{**p, "arguments": tuple(p["arguments"]), "capabilities": tuple(p["capabilities"])})
                for p in data["programs"]
            ),
            arithmetic=tuple(data["arithmetic"]),
        )
