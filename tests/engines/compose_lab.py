"""A small topology for the tests of the compose engine."""

from __future__ import annotations

from lab.topology import Host, Interface, Network, Program, Topology


def keeper(host: str, *awaited: str) -> Program:
    """The keeper of a host; one with several interfaces has to wait for them: Docker plugs the later ones in while it
    starts."""
    interfaces = [argument for name in awaited for argument in ("--interface", name)]
    return Program(
        host=host,
        role="host",
        module="lab.inside.host",
        arguments=("--name", host, "--offloads", "off", *interfaces),
        capabilities=("NET_ADMIN",),
    )


def two_hosts(*programs: Program, subnet: str = "10.91.7.0/29", sysctls: dict[str, str] | None = None) -> Topology:
    """Return `server` and `client` on one network, each with its keeper, and `programs` on them."""
    prefix = subnet.rpartition(".")[0]
    hosts = tuple(
        Host(
            name=name,
            interfaces=(Interface(name="eth0", network="lab", address=f"{prefix}.{last}", prefix=29),),
            sysctls=sysctls or {},
        )
        for name, last in (("server", 2), ("client", 3))
    )
    return Topology(
        scenario="two-hosts",
        networks=(Network(name="lab", subnet=subnet, mtu=1400),),
        hosts=hosts,
        programs=(keeper("server"), keeper("client"), *programs),
    )
