"""Measure -> number, with the file and the rows that say so.

One function for each source of evidence: the fleet's and the server's own results, the recorder's counts, the tables
made of the capture, the kernel's counters, the latency log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab import measures

FLEET_KEYS = {
    "closed": "closed_orderly",
    "sent": "messages_sent",
    "received": "messages_answered",
    "not_started": "arrivals.not_started",
    "lost": "datagrams.lost",
    "duplicated": "datagrams.duplicated",
    "reordered": "datagrams.reordered",
    "truncated": "datagrams.truncated",
}
"""Where a measure's number stands in fleet.json, when it is not under its own name."""

ORDERLY = ("fin4", "fin3", "simultaneous")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was observed of one measure."""

    value: float | None
    """In the measure's unit; None: nothing could be observed."""
    evidence: str
    """Where the number stands, so that anybody can look it up."""
    doubt: str | None = None
    """Why the number proves nothing, e.g. packets were lost; None: it is whole."""


@dataclass(frozen=True)
class Evidence:
    """A run folder, read."""

    folder: Path
    manifest: dict[str, Any]
    hosts: tuple[str, ...]
    fleets: dict[str, dict[str, Any]]
    """fleet.json of each fleet host; an empty one where it was not delivered."""
    server: dict[str, Any]
    captures: dict[str, dict[str, Any]]
    """capture.json of each captured host, interfaces summed up under received, dropped, written."""

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Read a run folder. Raises OSError when the manifest or the topology is missing."""
        manifest = json.loads((folder / "manifest.json").read_text())
        topology = json.loads((folder / "topology.json").read_text())

        def result(host: str, name: str) -> dict[str, Any]:
            path = folder / "hosts" / host / f"{name}.json"
            return dict(json.loads(path.read_text())) if path.exists() else {}

        def hosts_of(role: str) -> list[str]:
            return [program["host"] for program in topology["programs"] if program["role"] == role]

        return cls(
            folder,
            manifest,
            tuple(host["name"] for host in topology["hosts"]),
            {host: result(host, "fleet") for host in hosts_of("fleet")},
            result(manifest["server_host"], "server"),
            {host: _summed(result(host, "capture")) for host in hosts_of("capture")},
        )

    @cached_property
    def connections(self) -> pl.DataFrame:
        """All rows of the connections table, one for each connection and vantage (`host`)."""
        return pl.read_parquet(self.folder / "tables" / "connections.parquet")

    @cached_property
    def latency(self) -> pl.DataFrame:
        """The summary of the fleet's latency log: one row for each kind (`connect`, `service`, `response`)."""
        return pl.read_parquet(self.folder / "tables" / "latency_summary.parquet")

    def fleet_sum(self, key: str) -> int | None:
        """Return the sum of one number (`opened`, `arrivals.not_started`) over all fleet hosts.

        None when one of them did not deliver it.
        """
        group, _, name = key.rpartition(".")
        values = [(fleet.get(group) or {} if group else fleet).get(name) for fleet in self.fleets.values()]
        return None if None in values else sum(int(v) for v in values if v is not None)

    def capture_doubt(self, host: str) -> str | None:
        """Say why absence in this host's capture proves nothing; None for a whole capture."""
        capture = self.captures.get(host) or {}
        if capture.get("dropped"):
            return f"the recorder lost {capture['dropped']} packets"
        if capture.get("truncated_by_cap"):
            return "the capture ended at its size limit"
        return None

    def counters(self, host: str) -> tuple[dict[str, int], dict[str, int]] | None:
        """Return the kernel's counters of a host before the traffic and after it; None where they were not read.

        Readings leave zeros out; the names of all counters this kernel has stand in host.json.
        """
        observed, keeper = (self.folder / "hosts" / host / name for name in ("observed.json", "host.json"))
        if not observed.exists() or not keeper.exists():
            return None
        readings = self._readings(host)
        if len(readings) < 2:
            return None
        zeros = dict.fromkeys(json.loads(keeper.read_text()).get("counters_first", {}), 0)
        return zeros | readings[0]["counters"], zeros | readings[-1]["counters"]

    def read_at_ns(self, host: str) -> tuple[int, int]:
        """Return when the first and the last of them were read, by the clock that packets are stamped with."""
        readings = self._readings(host)
        return int(readings[0]["t_ns"]), int(readings[-1]["t_ns"])

    def _readings(self, host: str) -> list[dict[str, Any]]:
        """Every reading of a host's counters, in their order."""
        observed = json.loads((self.folder / "hosts" / host / "observed.json").read_text())
        return list(observed["counters"])

    def addresses(self, host: str) -> list[str]:
        """Return the host's own addresses."""
        topology = json.loads((self.folder / "topology.json").read_text())
        return [i["address"] for h in topology["hosts"] if h["name"] == host for i in h["interfaces"]]

    def hosts_named(self, name: str) -> list[str]:
        """Return the hosts that `name` stands for: itself, or the members of a group."""
        if name in self.hosts:
            return [name]
        return [host for host in self.hosts if host.rpartition("-")[0] == name]


def _summed(capture: dict[str, Any]) -> dict[str, Any]:
    """Add up a capture's interfaces."""
    interfaces = capture.get("interfaces", {}).values()
    if not interfaces:
        return capture
    totals = {key: sum(int(i.get(key) or 0) for i in interfaces) for key in ("received", "dropped", "written")}
    return {**capture, **totals}


def observe(what: str, at: str, evidence: Evidence) -> Observation:
    """Observe one measure. `at` is the host asked, where that matters. Raises KeyError for an unknown measure."""
    measure = measures.find(what)
    if measure is None:
        raise KeyError(what)
    source = {
        "fleet": _fleet,
        "server": _server,
        "capture": _capture,
        "packets": _packets,
        "frames": _frames,
        "contents": _contents,
        "counters": _counters,
        "latency": _latency,
        "script": _script,
        "usage": _usage,
        "boundaries": _boundaries,
        "datagrams": _datagrams,
    }[measure.source]
    return source(what, at, evidence)


def query(sql: str, evidence: Evidence) -> Observation:
    """Run SQL over the run's tables and take its only number. Doubtful where any capture lost packets."""
    context = pl.SQLContext(eager=False)
    for table in sorted((evidence.folder / "tables").glob("*.parquet")):
        context.register(table.stem, pl.scan_parquet(table))
    if "contents" in sql:  # made of the captures only where somebody asks
        from lab.analysis.contents import read_contents

        context.register("contents", read_contents(evidence.folder, list(evidence.captures)).messages.lazy())
    frame = context.execute(sql).collect()
    if frame.shape != (1, 1):
        raise ValueError(f"the query must give one number, got {frame.shape[0]} rows of {frame.shape[1]} columns")
    doubts = [d for host in evidence.captures if (d := evidence.capture_doubt(host))]
    value = frame.item()
    return Observation(
        value=None if value is None else float(value), evidence=f"tables: {sql}", doubt="; ".join(doubts) or None
    )


def _fleet(what: str, _at: str, evidence: Evidence) -> Observation:
    name = what.removeprefix("fleet.")
    if not evidence.fleets:
        return Observation(value=None, evidence="the scenario has no fleet")
    files = f"hosts/*/fleet.json of {len(evidence.fleets)} fleet hosts"
    silent = [host for host, result in evidence.fleets.items() if not result]
    if silent:
        return Observation(value=None, evidence=f"no fleet.json from {', '.join(silent)}")
    if name.startswith("error."):
        errno_name = name.removeprefix("error.")
        count = sum(int(f.get("errors", {}).get(errno_name, 0)) for f in evidence.fleets.values())
        return Observation(value=count, evidence=f"{files}, errors.{errno_name}")
    if name == "errors":
        count = sum(sum(int(n) for n in f.get("errors", {}).values()) for f in evidence.fleets.values())
        return Observation(value=count, evidence=f"{files}, errors")
    key = FLEET_KEYS.get(name, name)
    value = evidence.fleet_sum(key)
    if value is None:
        return Observation(value=None, evidence=f"{files} do not tell `{key}`")
    return Observation(value=value, evidence=f"{files}, {key} summed")


def _server(what: str, _at: str, evidence: Evidence) -> Observation:
    name = what.removeprefix("server.")
    file = f"hosts/{evidence.manifest['server_host']}/server.json"
    result = evidence.server
    if not result:
        return Observation(value=None, evidence=f"{file} is missing")
    if name in ("cpu", "cpu_per_message"):
        usage = result["usage"]
        cpu = usage["cpu_user_ns"] + usage["cpu_system_ns"]
        if name == "cpu":
            return Observation(value=cpu, evidence=f"{file}, usage")
        if not result.get("messages"):
            return Observation(value=None, evidence=f"{file}: no message was handled")
        return Observation(value=cpu / result["messages"], evidence=f"{file}, usage over messages")
    if name not in result:
        return Observation(value=None, evidence=f"{file} does not tell `{name}`")
    return Observation(value=result[name], evidence=f"{file}, {name}")


def _usage(what: str, at: str, evidence: Evidence) -> Observation:
    # Imported here because these measures stand in a file of their own and give what this one defines.
    from lab.verdict.usage import observe_usage

    return observe_usage(what, at, evidence)


def _boundaries(what: str, at: str, evidence: Evidence) -> Observation:
    # Imported here for the same reason.
    from lab.verdict.boundaries import observe_boundaries

    return observe_boundaries(what, at, evidence)


def _datagrams(what: str, at: str, evidence: Evidence) -> Observation:
    # And here.
    from lab.verdict.datagrams import observe_datagrams

    return observe_datagrams(what, at, evidence)


def _frames(what: str, at: str, evidence: Evidence) -> Observation:
    # And here.
    from lab.verdict.frames import observe_frames

    return observe_frames(what, at, evidence)


def _capture(what: str, at: str, evidence: Evidence) -> Observation:
    # Imported here because reconciling reads evidence itself.
    from lab.verdict.reconcile import reconcile

    hosts = [host for host in evidence.hosts_named(at) if host in evidence.captures]
    if not hosts:
        return Observation(value=None, evidence=f"{at} was not captured")
    if what == "capture.unreconciled":
        results = [reconcile(evidence, host) for host in hosts]
        unknown = [r["sentence"] for r in results if r["difference"] is None]
        if unknown:
            return Observation(value=None, evidence="; ".join(unknown))
        return Observation(
            value=sum(r["difference"] for r in results), evidence="; ".join(r["sentence"] for r in results)
        )
    key = {"capture.packets": "written", "capture.dropped": "dropped"}[what]
    files = ", ".join(f"hosts/{host}/capture.json" for host in hosts)
    values = [evidence.captures[host].get(key) for host in hosts]
    if None in values:
        return Observation(value=None, evidence=f"{files} do not tell `{key}`")
    return Observation(value=sum(int(v) for v in values if v is not None), evidence=f"{files}, {key}")


def _contents(what: str, at: str, evidence: Evidence) -> Observation:
    # And here.
    from lab.verdict.contents import observe_contents

    return observe_contents(what, at, evidence)


def _packets(what: str, at: str, evidence: Evidence) -> Observation:
    hosts = [host for host in evidence.hosts_named(at) if host in evidence.captures]
    if not hosts:
        return Observation(value=None, evidence=f"{at} was not captured")
    doubts = [d for host in hosts if (d := evidence.capture_doubt(host))]
    place = f"tables/connections.parquet, host {', '.join(hosts)}"
    if what in ("packets", "datagrams"):
        condition = pl.lit(True) if what == "packets" else pl.col("protocol") == 17
        packets = pl.scan_parquet(evidence.folder / "tables" / "packets.parquet")
        value = packets.filter(pl.col("host").is_in(hosts) & condition).select(pl.len()).collect().item()
        return Observation(value=value, evidence="tables/packets.parquet", doubt="; ".join(doubts) or None)
    table = evidence.connections.filter(pl.col("host").is_in(hosts))
    if what in ("retransmissions", "zero_windows"):
        value = int(table[f"orig_{what}"].sum()) + int(table[f"resp_{what}"].sum())
        return Observation(value=value, evidence=f"{place}, orig_{what} + resp_{what}", doubt="; ".join(doubts) or None)
    if what == "span":
        packets = pl.scan_parquet(evidence.folder / "tables" / "packets.parquet")
        said = packets.filter(pl.col("host").is_in(hosts) & (pl.col("payload_bytes") > 0)).select("t_ns").collect()
        value = int(said["t_ns"].max()) - int(said["t_ns"].min()) if said.height else None  # type: ignore[arg-type]
        text = "tables/packets.parquet: t_ns of rows with payload, the last minus the first"
        return Observation(value=value, evidence=text, doubt="; ".join(doubts) or None)
    condition, text = _condition(what)
    return Observation(
        value=table.filter(condition).height, evidence=f"{place}: rows with {text}", doubt="; ".join(doubts) or None
    )


def _condition(what: str) -> tuple[pl.Expr, str]:
    """Return the rows of the connections table that a measure counts, and the same in words."""
    if what == "connections":
        return pl.lit(True), "any handshake"
    if what == "answered":
        return (pl.col("orig_bytes") > 0) & (pl.col("resp_bytes") > 0), "orig_bytes > 0 and resp_bytes > 0"
    kind, _, value = what.partition(".")
    if what == "teardown.orderly":
        return pl.col("teardown").is_in(list(ORDERLY)), f"teardown in {', '.join(ORDERLY)}"
    if kind == "handshake":
        if value in ("complete", "incomplete"):
            return pl.col("handshake") == value, f"handshake = {value}"
        return pl.col("handshake_reason") == value, f"handshake_reason = {value}"
    column = {"teardown": "teardown", "reset": "reset", "closer": "active_closer"}[kind]
    return pl.col(column) == value, f"{column} = {value}"


def _counters(what: str, at: str, evidence: Evidence) -> Observation:
    name = what.removeprefix("counter.")
    total = 0
    hosts = evidence.hosts_named(at)
    for host in hosts:
        readings = evidence.counters(host)
        if readings is None:
            return Observation(value=None, evidence=f"hosts/{host}/observed.json has no counters")
        before, after = readings
        if name not in after:
            return Observation(value=None, evidence=f"the kernel of {host} counts no `{name}`")
        total += after[name] - before.get(name, 0)
    return Observation(value=total, evidence=f"{name} of {', '.join(hosts)}, after minus before the traffic")


def _latency(what: str, _at: str, evidence: Evidence) -> Observation:
    _, series, percentile = what.split(".", 2)
    rows = evidence.latency.filter(pl.col("series") == series)
    if rows.is_empty() or percentile not in rows.columns:
        return Observation(value=None, evidence=f"tables/latency_summary.parquet has no {series} {percentile}")
    return Observation(
        value=float(rows[percentile][0]), evidence=f"tables/latency_summary.parquet, {series} {percentile}"
    )


def _script(what: str, _at: str, evidence: Evidence) -> Observation:
    """Observe a script's measure: `script.unexpected`, `step.<name>.<key>`, `state.<look>.<STATE>`."""
    kind, _, name = what.partition(".")
    steps = pl.read_parquet(evidence.folder / "tables" / "steps.parquet")
    if kind == "script":
        wrong = steps.filter(~pl.col("as_written"))
        said = "; ".join(_told(row) for row in wrong.head(3).iter_rows(named=True))
        return Observation(value=wrong.height, evidence=f"tables/steps.parquet: {said or 'all as written'}")
    label, _, key = name.rpartition(".")
    row = next(steps.filter(pl.col("label") == label).iter_rows(named=True), None)
    if row is None:
        raise ValueError(f"the script has no step of that name, got {label!r}")
    if row["end_ns"] is None:
        return Observation(value=None, evidence=f"tables/steps.parquet: {_told(row)}")
    if kind == "step":
        value = row[{"duration": "duration_ns"}.get(key, key)]
        return Observation(value=value, evidence=f"tables/steps.parquet, step {row['index'] + 1} (`{label}`), {key}")
    sockets = pl.read_parquet(evidence.folder / "tables" / "sockets.parquet")
    count = sockets.filter((pl.col("label") == label) & (pl.col("state") == key)).height
    return Observation(value=count, evidence=f"tables/sockets.parquet: {key} at {row['host']} when `{label}` looked")


def _told(row: dict[str, Any]) -> str:
    error = f" ({row['error']})" if row["error"] else ""
    return f"step {row['index'] + 1}, {row['do']} at {row['host']}: {row['outcome']}{error}, written: {row['gives']}"
