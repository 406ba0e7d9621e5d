"""Scenario -> Topology: hosts, addresses, workers, programs, each number derived and shown.

Pure and seeded: the same scenario, facts and salt give the same topology. What the machine cannot hold is refused here,
before anything is created, with the arithmetic and the remedy (MachineLacks, exit code 3).
"""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterator
from typing import Any

from lab.errors import MachineLacks
from lab.inside.handlers import parse_handler
from lab.inside.servers import MODELS
from lab.scenario.check import DESCRIPTORS_KEPT, host_names
from lab.scenario.load import Loaded
from lab.scenario.schema import ClosedLoad, Fleet, OpenLoad, Phase, Scenario, Server
from lab.topology import Facts, Host, Interface, Network, Program, Topology
from lab.topology.capacity import check_capacity, port_line, workers_dealt_by_hash
from lab.topology.script_plan import script_programs

SUBNET_POOL = ipaddress.IPv4Network("10.64.0.0/10")
"""Where `auto` subnets come from: private (RFC 1918), away from Docker's own default pools and from common VPNs."""


DRAIN_S, DRAIN_S_A_CONNECTION = 5.0, 50e-6
"""How long a server may take to close what the clients have closed: on a busy machine it lags behind them."""


def plan(loaded: Loaded, facts: Facts, *, salt: int = 0) -> Topology:
    """Work out the topology of one run.

    `salt` moves the choice of automatic subnets, so that runs side by side do not race for the same ones.

    Raises MachineLacks when the machine cannot hold the scenario.
    """
    scenario = loaded.scenario
    arithmetic: list[str] = []
    networks = _networks(scenario, facts, salt)
    hosts = _hosts(scenario, networks)
    programs = (
        *_keepers(scenario, hosts),
        *_captures(scenario, hosts),
        *_servers(scenario, facts, arithmetic),
        *_fleets(scenario, facts, hosts, arithmetic),
        *script_programs(scenario, hosts, networks),
    )
    _check_tracking(scenario, facts, arithmetic)
    check_capacity(scenario, facts, programs, arithmetic)
    return Topology(
        scenario=loaded.name,
        networks=tuple(networks.values()),
        hosts=tuple(hosts.values()),
        programs=programs,
        arithmetic=tuple(arithmetic),
    )


def _networks(scenario: Scenario, facts: Facts, salt: int) -> dict[str, Network]:
    taken = [ipaddress.ip_network(subnet) for subnet in facts.taken_subnets]
    taken += [ipaddress.ip_network(n.subnet) for n in scenario.networks.values() if n.subnet != "auto"]
    chooser = random.Random(f"{scenario.seed}/{salt}")
    networks = {}
    for name, network in scenario.networks.items():
        members = sum(host.count for host in scenario.hosts.values() if name in host.networks)
        subnet = network.subnet
        if subnet == "auto":
            prefix = min(24, 32 - (members + 2).bit_length())
            free = _free_subnet(prefix, taken, chooser)
            taken.append(free)
            subnet = str(free)
        networks[name] = Network(name=name, subnet=subnet, mtu=network.mtu)
    return networks


def _free_subnet(prefix: int, taken: list[Any], chooser: random.Random) -> ipaddress.IPv4Network:
    size = 1 << (32 - prefix)
    slots = SUBNET_POOL.num_addresses // size
    first = chooser.randrange(slots)
    for step in range(slots):
        base = int(SUBNET_POOL.network_address) + (first + step) % slots * size
        subnet = ipaddress.IPv4Network((base, prefix))
        if not any(subnet.version == other.version and subnet.overlaps(other) for other in taken):
            return subnet
    raise MachineLacks(
        f"no free IPv4 subnet of /{prefix} in {SUBNET_POOL}; {len(taken)} routes and networks take them all",
        hint="give networks.<name>.subnet in the scenario, or remove networks that are no longer used",
    )


def _hosts(scenario: Scenario, networks: dict[str, Network]) -> dict[str, Host]:
    addresses = {name: _addresses(network) for name, network in networks.items()}
    hosts = {}
    for name, group in host_names(scenario).items():
        spec = scenario.hosts[group]
        interfaces = tuple(
            Interface(
                name=f"eth{index}",
                network=network,
                address=str(next(addresses[network])),
                prefix=ipaddress.IPv4Network(networks[network].subnet).prefixlen,
            )
            for index, network in enumerate(spec.networks)
        )
        hosts[name] = Host(
            name=name, interfaces=interfaces, sysctls=dict(spec.sysctls), cpus=spec.cpus, memory_bytes=spec.memory
        )
    return hosts


def _addresses(network: Network) -> Iterator[ipaddress.IPv4Address]:
    """Addresses of a network in order, but for the first, which is the engine's gateway."""
    every = ipaddress.IPv4Network(network.subnet).hosts()
    next(every)
    return every


def _captured_groups(scenario: Scenario) -> set[str]:
    """Return host names that a capture point covers."""
    names = host_names(scenario)
    return {name for name, group in names.items() for c in scenario.capture if c.host in (name, group)}


def _keepers(scenario: Scenario, hosts: dict[str, Host]) -> Iterator[Program]:
    captured = _captured_groups(scenario)
    for name, group in host_names(scenario).items():
        offloads = scenario.hosts[group].offloads or ("off" if name in captured else "on")
        memory = ("--memory",) if scenario.server is not None and name == scenario.server.host else ()
        # Docker plugs a host's later interfaces in while its keeper starts.
        several = hosts[name].interfaces if len(hosts[name].interfaces) > 1 else ()
        awaited = [argument for interface in several for argument in ("--interface", interface.name)]
        yield Program(
            host=name,
            role="host",
            module="lab.inside.host",
            arguments=(*memory, *awaited, "--isolated", "--name", name, "--offloads", offloads),
            capabilities=("NET_ADMIN",),
        )


def _captures(scenario: Scenario, hosts: dict[str, Host]) -> Iterator[Program]:
    names = host_names(scenario)
    for name, host in hosts.items():
        for capture in scenario.capture:
            if capture.host not in (name, names[name]):
                continue
            interfaces = [argument for i in host.interfaces for argument in ("--interface", i.name)]
            yield Program(
                host=name,
                role="capture",
                module="lab.inside.capture",
                arguments=(
                    *interfaces,
                    *("--filter", capture.filter, "--snaplen", str(capture.snaplen), "--name", name),
                    *(("--ring-bytes", str(capture.ring)) if capture.ring is not None else ()),
                    *("--max-bytes", str(capture.max_size)),
                ),
                image="capture",
                capabilities=("NET_RAW",),
            )
            break


def _workers(given: int | str, needed: int, room: int, arithmetic: list[str], who: str, *, by_hash: bool) -> int:
    """Return how many processes hold `needed` connections, `room` each; note the arithmetic.

    `by_hash`: connections are dealt to them by chance and not in turn.
    """
    least = workers_dealt_by_hash(needed, room) if by_hash else max(1, -(-needed // room))
    workers = least if given == "auto" else int(given)
    fullest = " with room for an uneven deal (SO_REUSEPORT)" if by_hash and least > 1 else ""
    arithmetic.append(
        f"{who}: {needed:,} connections / {room:,} a process = {least} "
        f"worker{'s' if least > 1 else ''}{fullest}"
        + ("" if workers == least else f"; the scenario asks for {workers}")
    )
    if workers * room < needed:
        raise MachineLacks(
            f"{who}: {workers} workers of {room:,} connections each cannot hold {needed:,} connections; {least} can",
            hint="leave `workers: auto`, or raise the machine's hard limit of open files (RLIMIT_NOFILE)",
        )
    return workers


def _nofile(scenario: Scenario, host: str, facts: Facts) -> int:
    wanted = scenario.hosts[host_names(scenario).get(host, host)].nofile
    if wanted is not None and wanted > facts.nofile_hard:
        raise MachineLacks(
            f"host {host}: {wanted:,} descriptors a process wanted, this machine allows {facts.nofile_hard:,}",
            hint="raise the hard limit of open files of the engine, or lower `nofile`; more workers need fewer each",
        )
    return wanted or facts.nofile_hard


def _servers(scenario: Scenario, facts: Facts, arithmetic: list[str]) -> Iterator[Program]:
    server, fleet = scenario.server, scenario.fleet
    if server is None:
        return
    model = MODELS[server.model]
    nofile = _nofile(scenario, server.host, facts)
    workers = server.workers
    if fleet is not None and fleet.transport == "tcp" and model.scale == "workers":
        room = model.max_connections(nofile) or nofile
        own_limit = model.ceiling is not None and workers != "auto"  # a model's own ceiling may be what is studied
        workers = _workers(
            workers, fleet.connections, nofile if own_limit else room, arithmetic, "server", by_hash=True
        )
    arguments = ["--bind", "0.0.0.0", "--port", str(server.port), "--backlog", str(server.backlog)]
    if model.scale == "workers":
        arguments += ["--workers", str(1 if workers == "auto" else workers)]
    framing = fleet.message.framing if fleet is not None else model.framing or "none"
    if fleet is not None and fleet.transport == "tcp":
        arguments += ["--drain", f"{DRAIN_S + fleet.connections * DRAIN_S_A_CONNECTION:g}"]
    arguments += ["--handler", server.handler, "--framing", framing, "--recv-size", str(server.recv_size)]
    if model.scale == "pool" and server.pool is not None:
        arguments += ["--pool", str(server.pool)]
    if server.queue is not None:
        arguments += ["--queue", str(server.queue)]
    if scenario.boundaries:
        arguments += ["--boundaries", str(scenario.boundaries)]
    for option, value in server.socket_options.items():
        arguments += ["--set-option", f"{option}={int(value)}"]
    yield Program(
        host=server.host,
        role="server",
        module=f"lab.inside.servers.{model.module}",
        arguments=tuple(arguments),
        image="servers" if any(not r.startswith("kernel:") for r in model.requires) else "host",
        capabilities=("NET_BIND_SERVICE",) if server.port < 1024 else (),
        nofile=scenario.hosts[host_names(scenario)[server.host]].nofile,
    )


def _fleets(scenario: Scenario, facts: Facts, hosts: dict[str, Host], arithmetic: list[str]) -> Iterator[Program]:
    server, fleet = scenario.server, scenario.fleet
    if server is None or fleet is None:
        return
    names = [name for name, group in host_names(scenario).items() if group == fleet.hosts]
    share, extra = divmod(fleet.connections, len(names))
    most = share + bool(extra)
    arithmetic.append(port_line(scenario, len(names), most))
    room = _nofile(scenario, fleet.hosts, facts) - DESCRIPTORS_KEPT
    workers = _workers(fleet.workers, most, room, arithmetic, "each fleet host", by_hash=False)
    first = 0
    for index, name in enumerate(names):
        count = share + (index < extra)
        source, target = hosts[name].route_to(hosts[server.host])
        # A host with one address needs no bind(2) to it: two system calls less for each connection.
        sources = [source] if len(hosts[name].interfaces) > 1 else []
        plan = _fleet_plan(scenario, server, fleet, name, sources, target, first, count, workers, len(names))
        yield Program(
            host=name,
            role="fleet",
            module="lab.inside.fleet",
            arguments=("--plan", json.dumps(plan)),
            nofile=scenario.hosts[fleet.hosts].nofile,
        )
        first += count


def _fleet_plan(
    scenario: Scenario,
    server: Server,
    fleet: Fleet,
    name: str,
    sources: list[str],
    target: str,
    first: int,
    count: int,
    workers: int,
    hosts: int,
) -> dict[str, Any]:
    """Build the plan that one fleet host gets; rates and concurrency are this host's share of the whole."""
    check = {"upper": "upper", "echo": "echo"}.get(server.handler) if fleet.message.check else None
    return {
        "name": name,
        "targets": [[target, server.port]],
        "transport": fleet.transport,
        "sources": sources,
        "first_connection": first,
        "connections": count,
        "workers": workers,
        "crowd": workers * hosts,
        "connect": {
            "rate_per_s": fleet.connect.rate / hosts if fleet.connect.rate else None,
            "in_flight": fleet.connect.in_flight,
            "timeout_ns": fleet.connect.timeout,
        },
        "message": {
            "bytes": fleet.message.size,
            "framing": fleet.message.framing,
            "answer_bytes": _answer_bytes(server, fleet),
            "check": check,
        },
        "phases": [_phase_plan(phase, hosts) for phase in fleet.phases],
        "close": fleet.close,
        **({"boundaries": scenario.boundaries} if scenario.boundaries else {}),
        "socket_options": {option: int(value) for option, value in fleet.socket_options.items()},
        "seed": scenario.seed,
    }


def _answer_bytes(server: Server, fleet: Fleet) -> int | None:
    """Return the size of a whole answer where the framing cannot tell it: what the handler gives; None where it can."""
    message = fleet.message
    if message.answer is not None or message.framing != "none":
        return message.answer
    handler = parse_handler(server.handler)
    return len(handler.answer(bytes(message.size))) * handler.copies


def _phase_plan(phase: Phase, hosts: int) -> dict[str, Any]:
    if isinstance(phase, ClosedLoad):
        return {
            "phase": "load",
            "model": "closed",
            "messages": phase.messages,
            "duration_ns": phase.duration,
            "think_ns": phase.think,
            "active_share": phase.active,
            "concurrency": -(-phase.concurrency // hosts) if phase.concurrency else None,
            "pipeline": phase.pipeline,
        }
    if isinstance(phase, OpenLoad):
        return {
            "phase": "load",
            "model": "open",
            "rate_per_s": phase.rate / hosts,
            "duration_ns": phase.duration,
            "active_share": phase.active,
        }
    plain = phase.model_dump()
    renamed = {"duration": "duration_ns", "gap": "gap_ns", "read_rate": "bytes_per_s", "rate": "rate_per_s"}
    planned = {renamed.get(key, key): value for key, value in plain.items()}
    if "rate_per_s" in planned:
        planned["rate_per_s"] /= hosts
    return planned


def _check_tracking(scenario: Scenario, facts: Facts, arithmetic: list[str]) -> None:
    fleet = scenario.fleet
    if facts.conntrack_max is None or fleet is None or fleet.transport != "tcp":
        return
    arithmetic.append(f"connection tracking: {fleet.connections:,} of {facts.conntrack_max:,} entries")
    if fleet.connections > facts.conntrack_max:
        raise MachineLacks(
            f"connection tracking holds {facts.conntrack_max:,} connections on this machine, got {fleet.connections:,}",
            hint=f"sysctl -w net.netfilter.nf_conntrack_max={fleet.connections * 2}, or --engine netns",
        )
