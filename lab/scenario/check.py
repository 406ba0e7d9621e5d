"""What contradicts what in a scenario whose every value, taken alone, is allowed. Pure: changes nothing, asks nothing.

Only what holds on every machine stands here; what depends on the machine's limits is the planner's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lab import measures
from lab.inside.framing import parse_framing
from lab.inside.handlers import TICKETS, parse_handler
from lab.inside.servers import MODELS
from lab.scenario.check_script import Contradiction, script_contradictions
from lab.scenario.schema import Expectation, Fleet, Host, Scenario, Server
from lab.scenario.values import BadReference, resolve

DEFAULT_PORT_RANGE = (32768, 60999)
"""net.ipv4.ip_local_port_range of a new network namespace: 28,232 ports."""

DESCRIPTORS_KEPT = 64
"""Descriptors a worker needs beside its connections: standard streams, epoll, timers, the log."""


def port_range(host: Host) -> tuple[int, int]:
    """Return the ephemeral ports a host of this group uses, both ends included."""
    text = host.sysctls.get("net.ipv4.ip_local_port_range")
    if text is None:
        return DEFAULT_PORT_RANGE
    low, high = text.split()
    return int(low), int(high)


def contradictions(scenario: Scenario) -> Iterator[Contradiction]:
    """Yield every contradiction, in no particular order."""
    yield from _networks(scenario)
    yield from _hosts(scenario)
    if scenario.server is not None:
        yield from _server(scenario, scenario.server)
    if scenario.fleet is not None:
        yield from _fleet(scenario, scenario.fleet)
    if scenario.fleet is not None and scenario.server is None:
        what = "a fleet needs a server to talk to; there is none"
        yield Contradiction(path=("fleet",), what=what, hint="add `server:`")
    if scenario.fleet is None and not scenario.script:
        what = "nothing drives traffic: there is neither a fleet nor a script"
        yield Contradiction(path=("hosts",), what=what, hint="add `server:` and `fleet:`, or `script:`")
    yield from script_contradictions(scenario, set(host_names(scenario)))
    for index, capture in enumerate(scenario.capture):
        if not _names_hosts(scenario, capture.host):
            yield _unknown_host(scenario, ("capture", index, "host"), capture.host)
    for index, expectation in enumerate(scenario.expect):
        yield from _expectation(scenario, index, expectation)


def host_names(scenario: Scenario) -> dict[str, str]:
    """Return every host's name and the group it belongs to, in the scenario's order."""
    names: dict[str, str] = {}
    for group, host in scenario.hosts.items():
        if host.count == 1:
            names[group] = group
        else:
            names.update({f"{group}-{number}": group for number in range(1, host.count + 1)})
    return names


def _names_hosts(scenario: Scenario, name: str) -> bool:
    return name in scenario.hosts or name in host_names(scenario)


def _unknown_host(scenario: Scenario, path: tuple[str | int, ...], name: str) -> Contradiction:
    return Contradiction(path=path, what=f"no such host, got {name!r}; allowed: {', '.join(scenario.hosts)}")


def _networks(scenario: Scenario) -> Iterator[Contradiction]:
    subnets: dict[str, ipaddress.IPv4Network] = {}
    for name, network in scenario.networks.items():
        if network.subnet == "auto":
            continue
        path = ("networks", name, "subnet")
        try:
            subnet = ipaddress.IPv4Network(network.subnet)
        except ValueError as error:
            yield Contradiction(path=path, what=f"not an IPv4 subnet, got {network.subnet!r}: {error}; or `auto`")
            continue
        members = sum(host.count for host in scenario.hosts.values() if name in host.networks)
        if members + 3 > subnet.num_addresses:
            what = f"too small for {members} hosts, got {network.subnet}; {members + 3} addresses are needed"
            yield Contradiction(path=path, what=what, hint=f"use a /{32 - (members + 2).bit_length()} or larger")
        for other, taken in subnets.items():
            if subnet.overlaps(taken):
                yield Contradiction(path=path, what=f"overlaps `{other}` ({taken}), got {subnet}; each needs its own")
        subnets[name] = subnet


def _hosts(scenario: Scenario) -> Iterator[Contradiction]:
    for name, host in scenario.hosts.items():
        for index, network in enumerate(host.networks):
            if network not in scenario.networks:
                allowed = ", ".join(scenario.networks)
                path: tuple[str | int, ...] = ("hosts", name, "networks", index)
                yield Contradiction(path=path, what=f"no such network, got {network!r}; allowed: {allowed}")
        for sysctl in host.sysctls:
            if not sysctl.startswith("net."):
                what = f"not a setting of a network stack, got {sysctl!r}; only names under net. can be set for a host"
                yield Contradiction(path=("hosts", name, "sysctls", sysctl), what=what)
        ports = host.sysctls.get("net.ipv4.ip_local_port_range")
        if ports is not None:
            numbers = ports.split()
            if (
                len(numbers) != 2
                or not all(n.isdigit() for n in numbers)
                or not 0 < int(numbers[0]) < int(numbers[1]) < 65536
            ):
                what = f"not a port range, got {ports!r}; two numbers, low and high, from 1 to 65535"
                yield Contradiction(path=("hosts", name, "sysctls", "net.ipv4.ip_local_port_range"), what=what)


def _server(scenario: Scenario, server: Server) -> Iterator[Contradiction]:
    fleet = scenario.fleet
    model = MODELS.get(server.model)
    if model is None:
        allowed = ", ".join(MODELS)
        yield Contradiction(
            path=("server", "model"), what=f"unknown I/O model, got {server.model!r}; allowed: {allowed}"
        )
    if server.host not in host_names(scenario):
        yield _unknown_host(scenario, ("server", "host"), server.host)
    try:
        parse_handler(server.handler)
    except ValueError as error:
        yield Contradiction(path=("server", "handler"), what=str(error))
    if model is not None and fleet is not None and model.transport != fleet.transport:
        what = f"the {server.model} server speaks {model.transport}, got {fleet.transport!r}"
        yield Contradiction(path=("fleet", "transport"), what=what, hint=f"set fleet.transport: {model.transport}")
    framing = fleet.message.framing if fleet is not None else None
    if model is not None and model.framing is not None and framing not in (None, model.framing):
        what = f"the {server.model} server speaks only `{model.framing}`, got {framing!r}"
        yield Contradiction(path=("fleet", "message", "framing"), what=what)
    if model is not None and model.scale != "pool" and server.pool is not None:
        yield Contradiction(path=("server", "pool"), what=f"the {server.model} server has no pool, got {server.pool}")
    if model is not None and not model.bounded_queue and server.queue is not None:
        what = f"the {server.model} server has no bounded queue, got {server.queue}"
        yield Contradiction(path=("server", "queue"), what=what)
    if model is not None and model.scale != "workers" and server.workers not in ("auto", 1):
        what = f"the {server.model} server is one process tree, got {server.workers} workers; leave it `auto`"
        yield Contradiction(path=("server", "workers"), what=what)
    if isinstance(server.workers, int) and server.workers < 1:
        yield Contradiction(path=("server", "workers"), what=f"at least 1, or auto, got {server.workers}")
    if model is not None and scenario.boundaries and "boundaries" in model.cannot:
        what = f"the {server.model} server makes its calls where nobody can note them, got {scenario.boundaries}"
        able = ", ".join(name for name, one in MODELS.items() if "boundaries" not in one.cannot)
        hint = f"leave it out, or choose a server.model out of {able}"
        yield Contradiction(path=("boundaries",), what=what, hint=hint)
    name = server.handler.partition(":")[0]
    if fleet is not None and fleet.transport == "udp" and name in ("upper", *TICKETS):
        what = f"`{name}` would change the numbers at the start of the fleet's datagrams, got {server.handler}"
        hint = "echo, cpu:TIME, sleep:TIME and burst:COUNT keep them"
        yield Contradiction(path=("server", "handler"), what=what, hint=hint)
    if fleet is not None and fleet.transport == "tcp" and name in TICKETS and framing == "none":
        what = f"`{name}` answers with numbers, whose length tells no end, and the framing is `none`"
        hint = r'set fleet.message.framing: "delimiter:\n"'
        yield Contradiction(path=("server", "handler"), what=what, hint=hint)
    group = scenario.hosts.get(host_names(scenario).get(server.host, ""))
    if group is not None and group.nofile is not None and isinstance(server.workers, int) and fleet is not None:
        room = server.workers * (group.nofile - DESCRIPTORS_KEPT)
        if fleet.transport == "tcp" and fleet.connections > room and model is not None and model.scale == "workers":
            what = (
                f"{server.workers} workers with {group.nofile} descriptors each can hold {room} connections, "
                f"got {fleet.connections}"
            )
            yield Contradiction(path=("server", "workers"), what=what, hint="raise workers, or leave it `auto`")


def _fleet(scenario: Scenario, fleet: Fleet) -> Iterator[Contradiction]:
    try:
        parse_framing(fleet.message.framing)
    except ValueError as error:
        yield Contradiction(path=("fleet", "message", "framing"), what=str(error))
    group = scenario.hosts.get(fleet.hosts)
    if group is None:
        yield _unknown_host(scenario, ("fleet", "hosts"), fleet.hosts)
        return
    if fleet.connections < 1:
        yield Contradiction(path=("fleet", "connections"), what=f"at least 1, got {fleet.connections}")
    share = -(-fleet.connections // group.count)
    text = group.sysctls.get("net.ipv4.ip_local_port_range")
    if text is None or len(text.split()) == 2:
        low, high = port_range(group)
        ports = high - low + 1
        if share > ports:
            what = f"at most {ports} a client host with this port range, got {share} on each of {group.count}"
            hint = f"raise hosts.{fleet.hosts}.count to {-(-fleet.connections // ports)}"
            if text is None:
                hint += ", or widen hosts." + fleet.hosts + ".sysctls net.ipv4.ip_local_port_range to [1024, 65535]"
            yield Contradiction(path=("fleet", "connections"), what=what, hint=hint)
    if isinstance(fleet.workers, int):
        if fleet.workers < 1:
            yield Contradiction(path=("fleet", "workers"), what=f"at least 1, or auto, got {fleet.workers}")
        elif group.nofile is not None and share > (room := fleet.workers * (group.nofile - DESCRIPTORS_KEPT)):
            what = (
                f"{fleet.workers} workers with {group.nofile} descriptors each can hold {room} connections, "
                f"got {share} on each fleet host"
            )
            yield Contradiction(path=("fleet", "workers"), what=what, hint="raise workers, or leave it `auto`")
    names = [phase.phase for phase in fleet.phases]
    for index, phase in enumerate(fleet.phases):
        path: tuple[str | int, ...] = ("fleet", "phases", index)
        if phase.phase == "load" and phase.model == "closed" and phase.messages is None and phase.duration is None:
            yield Contradiction(
                path=path, what="a closed load ends after `messages` or after `duration`; neither is given"
            )
        needs_open = fleet.transport == "tcp" and phase.phase not in ("connect", "churn")
        if needs_open and "connect" not in names[:index] and "churn" not in names[:index]:
            yield Contradiction(
                path=path, what=f"`{phase.phase}` needs open connections; put `- phase: connect` before it"
            )
        if phase.phase == "drain" and index != len(names) - 1:
            yield Contradiction(path=path, what="`drain` closes every connection, so it must be the last phase")


def _expectation(scenario: Scenario, index: int, expectation: Expectation) -> Iterator[Contradiction]:
    path: tuple[str | int, ...] = ("expect", index)
    measure = measures.find(expectation.what)
    if expectation.query is None and measure is None:
        names = ", ".join(m.name for m in measures.MEASURES)
        what = f"unknown measure, got {expectation.what!r}; allowed: {names}; or give a `query`"
        yield Contradiction(path=(*path, "what"), what=what)
    if expectation.at is not None and not _names_hosts(scenario, expectation.at):
        yield _unknown_host(scenario, (*path, "at"), expectation.at)
    given = [key for key in ("equal", "at_least", "at_most") if getattr(expectation, key) is not None]
    if not given:
        yield Contradiction(path=path, what="nothing to compare with; give `equal`, `at_least` or `at_most`")
    for key in given:
        try:
            resolve(getattr(expectation, key), scenario, measure.unit if measure else "count")
        except (BadReference, ValueError) as error:
            yield Contradiction(path=(*path, key), what=str(error))
    if (
        measure is not None
        and measure.source in measures.CAPTURED
        and expectation.query is None
        and not scenario.capture
    ):
        what = f"`{expectation.what}` is found in a capture, and the scenario captures nothing"
        yield Contradiction(path=path, what=what, hint="add `capture: [{host: server}]`")
