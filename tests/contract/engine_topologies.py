"""Engines by name, and topologies for them; without pytest, so that a process made to be killed starts fast."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from typing import Any

from lab.engines import Engine
from lab.engines.netns import NetnsEngine
from lab.topology import Facts, Host, Interface, Network, Program, Topology

SUBNETS = [ipaddress.ip_network(f"10.{high}.{low}.0/24") for high in range(160, 200) for low in range(256)]


def engine_of(name: str) -> Engine:
    if name == "netns":
        return NetnsEngine()
    from lab.engines.compose import ComposeEngine  # needs Docker only when asked for

    return ComposeEngine()


def diagnose(host: str, role: str, *arguments: str, **fields: Any) -> Program:
    return Program(host=host, role=role, module="lab.inside.diagnose", arguments=arguments, **fields)


def build(
    facts: Facts | None,
    programs: Sequence[Program],
    *,
    hosts: Sequence[str] = ("server", "client"),
    offloads: str | None = None,
    **host_fields: Any,
) -> Topology:
    """Hosts on one network, each with its keeper, and the programs. No facts: no subnet is taken."""
    taken = [ipaddress.ip_network(subnet) for subnet in (facts.taken_subnets if facts else ())]
    subnet = random.choice([s for s in SUBNETS if not any(s.overlaps(t) for t in taken)])
    switch = ("--offloads", offloads) if offloads else ()
    return Topology(
        scenario="contract",
        networks=(Network(name="lan", subnet=str(subnet), mtu=1500),),
        hosts=tuple(
            Host(
                name=name,
                interfaces=(Interface(name="eth0", network="lan", address=str(subnet[place + 2]), prefix=24),),
                **{"sysctls": {}, **host_fields},
            )
            for place, name in enumerate(hosts)
        ),
        programs=(
            *(
                Program(
                    host=name,
                    role="host",
                    module="lab.inside.host",
                    arguments=("--name", name, "--interface", "eth0", *switch),
                    capabilities=("NET_ADMIN",),
                )
                for name in hosts
            ),
            *programs,
        ),
    )
