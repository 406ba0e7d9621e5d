"""Scenarios and plans in words, for `lab show` and `lab plan`. Pure text; nothing is run."""

from __future__ import annotations

from lab import measures, units
from lab.manifest import expectations
from lab.scenario.load import Loaded
from lab.scenario.matrix import cells
from lab.scenario.schema import Fleet, Phase
from lab.scenario.script import AnyStep, RunPhase
from lab.scenario.traffic import asks_ns
from lab.topology import Facts, Host, Topology


def describe_scenario(loaded: Loaded) -> str:
    """Return a scenario as a page of text: lesson, hosts, server, fleet, script, captures, expectations."""
    scenario = loaded.scenario
    lines = [f"{loaded.name}: {scenario.title}", ""]
    if scenario.lesson:
        lines += [f"  {line}".rstrip() for line in scenario.lesson.strip().splitlines()] + [""]
    hosts = [f"{name} x {host.count}" if host.count > 1 else name for name, host in scenario.hosts.items()]
    lines.append(f"hosts     {', '.join(hosts)}; networks {', '.join(scenario.networks)}")
    server, fleet = scenario.server, scenario.fleet
    if server is not None:
        lines.append(f"server    {server.model} on {server.host}, port {server.port}, handler {server.handler}")
    if fleet is not None:
        lines.append(
            f"fleet     {units.show_count(fleet.connections)} {fleet.transport} connections from {fleet.hosts}, "
            f"messages of {units.show_bytes(fleet.message.size)}, framing {fleet.message.framing}"
        )
        lines += [
            f"{'phases' if index == 0 else '':<10}{index + 1}. {_phase(phase, fleet)}"
            for index, phase in enumerate(fleet.phases)
        ]
    lines += [
        f"{'script' if index == 0 else '':<10}{index + 1:>2}. {describe_step(step)}"
        for index, step in enumerate(scenario.script)
    ]
    for index, capture in enumerate(scenario.capture):
        what = f"{capture.host}: {capture.filter or 'everything'}, {units.show_bytes(capture.snaplen)} of each packet"
        lines.append(f"{'capture' if index == 0 else '':<10}{what}")
    lines.append("expects")
    rows = expectations(loaded)
    added = len(rows) - len(scenario.expect)  # a script's own expectation stands before those of the file
    for row, only in zip(rows, [{}] * added + [one.only for one in scenario.expect], strict=True):
        signs = {"equal": "=", "at_least": ">=", "at_most": "<="}
        wanted = " and ".join(
            f"{sign} {units.show_value(row[key], row['unit'])}" for key, sign in signs.items() if row[key] is not None
        )
        because = f"  ({row['because']})" if row["because"] else ""
        where = f" for {', '.join(map(str, only.values()))}" if only else ""
        lines.append(f"  {row['what']} {wanted}{where}{because}")
    lines += _series(loaded)
    asked = asks_ns(scenario)
    takes = f"{units.show_duration(asked)} of traffic" if asked else "as long as its messages do"
    lines += ["", f"takes {takes}; file: {loaded.file}"]
    return "\n".join(lines)


def _series(loaded: Loaded) -> list[str]:
    """Return the matrix, the repeats and the comparisons of a series; nothing for one run."""
    scenario = loaded.scenario
    every = cells(loaded.data)
    if len(every) < 2 and scenario.repeats == 1:
        return []
    lines = [f"series    {len(every)} cells, {scenario.repeats} repeats each, interleaved"]
    for axis, values in scenario.matrix.items():
        texts = [str(value[axis] if isinstance(value, dict) else value) for value in values]
        lines.append(f"  {axis}: {', '.join(texts)}")
    for comparison in scenario.compare:
        of, over = (", ".join(f"{v}" for v in some.values()) for some in (comparison.of, comparison.over))
        signs = {">=": comparison.at_least, "<=": comparison.at_most}
        wanted = " and ".join(f"{sign} {value:g} times" for sign, value in signs.items() if value is not None)
        lines.append(f"  {comparison.what} of {of} {wanted} that of {over}")
    return lines


def describe_step(step: AnyStep) -> str:
    """Return a step as one line: `client  connect c to server port 9000`."""
    if isinstance(step, RunPhase):
        return "the fleet's next phase"
    words = []
    for key, value in step.model_dump(by_alias=True, exclude_unset=True, exclude={"at", "do", "wait"}).items():
        if key in ("duration", "gap", "within"):
            words.append(f"{key} {units.show_duration(value)}")
        elif key == "rate":
            words.append(f"rate {units.show_rate(value)}")
        elif key in ("size", "bytes", "buffer", "send_queue"):
            words.append(f"{key} {units.show_bytes(value)}")
        elif isinstance(value, dict):
            words.append(", ".join(f"{name} = {int(one)}" for name, one in value.items()))
        else:
            words.append(f"{key} {value!r}" if key == "text" else f"{key} {value}")
    background = "" if getattr(step, "wait", True) else "  (in the background)"
    return f"{step.at:<9} {step.do} {' '.join(words)}{background}"


def _phase(phase: Phase, fleet: Fleet) -> str:
    """Return a phase as one line: its name and what it sets."""
    rate = fleet.connect.rate
    if phase.phase == "connect":
        return "connect" + (f" at {units.show_rate(rate)}" if rate else " as fast as the cap in flight allows")
    words = []
    for key, value in phase.model_dump(exclude={"phase"}, exclude_defaults=True).items():
        if key in ("duration", "think", "gap"):
            words.append(f"{key} {units.show_duration(value)}")
        elif key == "rate":
            words.append(f"at {units.show_rate(value)}")
        elif key == "read_rate":
            words.append(f"reading {units.show_bytes(value)}/s")
        else:
            words.append(f"{key} {value}")
    return f"{phase.phase} {', '.join(words)}".strip()


def describe_plan(loaded: Loaded, topology: Topology, facts: Facts) -> str:
    """Return what a run would build on this machine, and how its numbers came about."""
    lines = [f"{loaded.name} on engine {facts.engine} ({facts.engine_version}, kernel {facts.kernel})", ""]
    for network in topology.networks:
        lines.append(f"network {network.name}: {network.subnet}, MTU {network.mtu}")
    alike = [(_span(group), group[0]) for group in _alike(topology)]
    width = max(len(name) for name, _host in alike)
    for name, host in alike:
        roles = ", ".join(_roles(topology, host))
        addresses = ", ".join(f"{i.name} {i.address}/{i.prefix}" for i in host.interfaces)
        more = " and on" if name != host.name else ""
        lines.append(f"host {name:<{width}}  {addresses}{more}  runs {roles}")
        lines += [f"     {'':<{width}}  {name} = {' '.join(value.split())}" for name, value in host.sysctls.items()]
    lines += ["", *topology.arithmetic]
    lines += [
        f"this machine: {facts.cpus} CPUs, {units.show_bytes(facts.memory_bytes)}, "
        f"{facts.nofile_hard:,} descriptors a process"
    ]
    if facts.missing:
        lines.append(f"it lacks: {', '.join(facts.missing)}")
    return "\n".join(lines)


def _alike(topology: Topology) -> list[list[Host]]:
    """Put neighbouring hosts together that differ only in their number and address: a million takes 32 of them."""
    groups: list[list[Host]] = []
    for host in topology.hosts:
        if groups and _kind(topology, groups[-1][0]) == _kind(topology, host):
            groups[-1].append(host)
        else:
            groups.append([host])
    return groups


def _kind(topology: Topology, host: Host) -> tuple[object, ...]:
    links = [(interface.name, interface.network) for interface in host.interfaces]
    return host.name.rpartition("-")[0] or host.name, links, host.sysctls, _roles(topology, host)


def _roles(topology: Topology, host: Host) -> list[str]:
    return [p.role for p in topology.programs if p.host == host.name and p.role != "host"]


def _span(hosts: list[Host]) -> str:
    return hosts[0].name if len(hosts) == 1 else f"{hosts[0].name} to {hosts[-1].name} ({len(hosts)})"


def describe_measures() -> str:
    """Return every measure that an expectation may name."""
    width = max(len(measure.name) for measure in measures.MEASURES)
    return "\n".join(f"{m.name:<{width}}  {m.unit:<6} {m.meaning}" for m in measures.MEASURES)
