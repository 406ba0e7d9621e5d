"""A script shared out: which program makes which steps, in which turn, and at which addresses. Pure.

Steps that follow each other at one program are one turn: they run without a pause, since nobody else has to act between
them. A host whose segments are made by hand gets one more address, the last free one of its first network, that no
kernel is given.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lab.scenario.schema import Scenario
from lab.scenario.script import ADMINISTERING, CRAFTED, SWITCHING, AnyStep, Pause, Route, RunPhase
from lab.topology import Host, Interface, Network, Program

TURN_GRACE_NS = 30_000_000_000
"""Beyond what a turn's steps may take by themselves: a slow machine is not a failure."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Steps that run at one program without a pause."""

    program: str | None
    """`client/actor`, `peer/crafter`, `bridge/switch`; None: the fleet's next phase."""
    steps: tuple[int, ...]
    """Places in the script."""
    text: str
    """For people: `client: connect`."""
    budget_ns: int
    """After this the turn counts as stuck."""


def program_of(step: AnyStep) -> str | None:
    """Return the name of the program that makes the step; None for a phase of the fleet."""
    if isinstance(step, RunPhase):
        return None
    role = "crafter" if isinstance(step, CRAFTED) else "switch" if isinstance(step, SWITCHING) else "actor"
    return f"{step.at}/{role}"


def turns(scenario: Scenario) -> list[Turn]:
    """Return the script as turns, in order."""
    found = []
    for program, group in groupby(enumerate(scenario.script), key=lambda item: program_of(item[1])):
        steps = list(group)
        for part in [steps] if program is not None else [[one] for one in steps]:
            asked = sum(_asks_ns(step) for _, step in part)
            names = ", ".join(step.do for _, step in part)
            found.append(
                Turn(
                    program=program,
                    steps=tuple(index for index, _ in part),
                    text=f"{program.split('/')[0]}: {names}" if program is not None else names,
                    budget_ns=asked + TURN_GRACE_NS,
                )
            )
    return found


def _asks_ns(step: AnyStep) -> int:
    if isinstance(step, RunPhase):
        return 0
    return step.within + (step.duration if isinstance(step, Pause) else 0)


def crafted_addresses(
    scenario: Scenario, hosts: Mapping[str, Host], networks: Mapping[str, Network]
) -> dict[str, tuple[str, Interface]]:
    """Return, for each host with hand-made segments, the address they come from and the interface they leave by."""
    names = dict.fromkeys(step.at for step in scenario.script if isinstance(step, CRAFTED))
    used: dict[str, int] = {}
    found = {}
    for name in names:
        interface = hosts[name].interfaces[0]
        used[interface.network] = used.get(interface.network, 0) + 1
        subnet = ipaddress.IPv4Network(networks[interface.network].subnet)
        found[name] = (str(subnet.broadcast_address - used[interface.network]), interface)
    return found


def script_programs(
    scenario: Scenario, hosts: Mapping[str, Host], networks: Mapping[str, Network]
) -> Iterator[Program]:
    """Yield the programs that make the script's steps."""
    crafted = crafted_addresses(scenario, hosts, networks)
    plans: dict[str, list[dict[str, Any]]] = {}
    for number, turn in enumerate(turns(scenario)):
        for index in turn.steps:
            if turn.program is not None:
                step = _planned(scenario.script[index], index, hosts, crafted)
                plans.setdefault(turn.program, []).append({**step, "turn": number})
    for program, steps in plans.items():
        name, _, role = program.partition("/")
        plan: dict[str, Any] = {"name": name, "steps": steps}
        if role == "crafter":
            address, interface = crafted[name]
            plan |= {"interface": interface.name, "address": address, "seed": scenario.seed}
        if role == "switch":
            plan["interfaces"] = {interface.network: interface.name for interface in hosts[name].interfaces}
        administers = role == "actor" and any(isinstance(s, ADMINISTERING) and s.at == name for s in scenario.script)
        yield Program(
            host=name,
            role=role,
            module=f"lab.inside.script.{role}",
            arguments=("--plan", json.dumps(plan)),
            image="capture" if role == "crafter" else "host",
            capabilities=("NET_RAW",) if role != "actor" else ("NET_ADMIN",) if administers else (),
        )


def _planned(
    step: AnyStep, index: int, hosts: Mapping[str, Host], crafted: Mapping[str, tuple[str, Interface]]
) -> dict[str, Any]:
    """Return the step as its program gets it: with its place, and with the address of the host it names."""
    plan = {"index": index, **step.model_dump(by_alias=True, exclude_none=True)}
    to = plan.get("to")
    if isinstance(to, str) and not isinstance(step, RunPhase):
        plan["address"] = crafted[to][0] if to in crafted else hosts[step.at].route_to(hosts[to])[1]
    if isinstance(step, Route):
        plan["gateway"] = hosts[step.at].route_to(hosts[step.via])[1]
    return plan
