"""What each phase cost each program, as tables: `usage` (one row a program and phase) and `syscalls`.

Goes in: a run folder. The session asked the server at each boundary of phases what it had used so far
(`hosts/<host>/observed.json`), and the fleet counted by phase (`fleet.json`): the difference of two readings is what
one phase cost. Comes out: tables of differences (what a phase used) and of levels at its end (memory, threads).

A phase is only as long as the time between two readings, and a reading takes about a millisecond of the server.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis.tables import Column

I64, U32, TEXT = pl.Int64, pl.UInt32, pl.String
SERVERS_ONLY = "a fleet: not asked"
NO_FLEET = "no fleet told of this phase"

USAGE = (
    Column("host", TEXT, "", "the host"),
    Column("role", TEXT, "", "server or fleet"),
    Column("index", U32, "", "number of the phase, from 0"),
    Column("phase", TEXT, "", "what the fleet did: connect, hold, load, ..."),
    Column("wall_ns", I64, "ns", "time from the reading before the phase to the one after it"),
    Column("fleet_ns", I64, "ns", "time that the fleet was in the phase; of several hosts the longest", NO_FLEET),
    Column("cpu_ns", I64, "ns", "CPU time in it, user and system, all processes of the program"),
    Column(
        "run_delay_ns",
        I64,
        "ns",
        "time in which its threads were ready to run and had no processor; of those that live at its end",
        SERVERS_ONLY,
    ),
    Column("messages", I64, "", "answers that all fleet hosts together (role fleet: this one) got in it", NO_FLEET),
    Column("open", I64, "", "connections open at its end, at all fleet hosts (role fleet: at this one)", NO_FLEET),
    Column("syscalls", I64, "", "system calls in it", "nothing could count them, or " + SERVERS_ONLY),
    Column("syscall_method", TEXT, "", "how they were counted: libc, proc-io", "as syscalls"),
    Column("voluntary_switches", I64, "", "times it gave its processor up to wait", SERVERS_ONLY),
    Column("involuntary_switches", I64, "", "times its processor was taken away", SERVERS_ONLY),
    Column("processes", U32, "", "its processes at the end of the phase", SERVERS_ONLY),
    Column("threads", U32, "", "its threads, of all processes", SERVERS_ONLY),
    Column("descriptors", I64, "", "open descriptors, of all processes", SERVERS_ONLY),
    Column("rss_bytes", I64, "bytes", "resident memory; a page of N processes counts N times", SERVERS_ONLY),
    Column("pss_bytes", I64, "bytes", "resident memory; a page of N processes counts once", SERVERS_ONLY),
    Column("pss_before_bytes", I64, "bytes", "the same before the phase", SERVERS_ONLY),
    Column("sockets", I64, "", "TCP sockets in use in the host's network stack", SERVERS_ONLY),
    Column("socket_memory_bytes", I64, "bytes", "memory in TCP's buffers, of all stacks of the machine", SERVERS_ONLY),
    Column("packets", I64, "packets", "packets captured at the host while the fleet was in the phase", "not captured"),
)

SYSCALLS = (
    Column("host", TEXT, "", "the host"),
    Column("index", U32, "", "number of the phase"),
    Column("phase", TEXT, "", "what the fleet did"),
    Column("name", TEXT, "", "the system call"),
    Column("calls", I64, "", "how often, in this phase"),
    Column("method", TEXT, "", "how it was counted: libc, proc-io"),
)

PAGE_BYTES = 4096
"""What /proc/net/sockstat counts memory in."""
DIFFERENCES = ("voluntary_switches", "involuntary_switches", "run_delay_ns")
LEVELS = ("processes", "threads", "descriptors", "rss_bytes", "pss_bytes")


def usage_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return both tables; empty ones for a run without phases, or whose programs told nothing."""
    hosts = sorted(path for path in (folder / "hosts").iterdir() if path.is_dir())
    fleets = {host.name: _phases(host) for host in hosts}
    names = next(([str(phase["phase"]) for phase in phases] for phases in fleets.values() if phases), [])
    usage: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for host in hosts:
        readings = _readings(host)
        for before, after in pairwise(sorted(readings)):
            if after != before + 1 or before >= len(names):
                continue
            same = {"host": host.name, "index": before, "phase": names[before]}
            told = [phases[before] for phases in fleets.values() if len(phases) > before]
            row = _server_row(readings[before], readings[after])
            row["packets"] = _packets(folder, host.name, told)
            usage.append({**same, "role": "server", **_fleet_counts(told), **row})
            calls += [{**same, **call} for call in _calls(readings[before], readings[after])]
        for index, phase in enumerate(fleets[host.name]):
            wall_ns = phase["end_realtime_ns"] - phase["begin_realtime_ns"]
            row = {"wall_ns": wall_ns, "cpu_ns": sum(phase["cpu_ns"]), **_fleet_counts([phase])}
            row["packets"] = _packets(folder, host.name, [phase])
            usage.append({"host": host.name, "role": "fleet", "index": index, "phase": phase["phase"], **row})
    return {"usage": _frame(usage, USAGE), "syscalls": _frame(calls, SYSCALLS)}


def _phases(host: Path) -> list[dict[str, Any]]:
    """Return what the fleet of a host says of its phases, in order."""
    path = host / "fleet.json"
    return list(json.loads(path.read_text()).get("phases", [])) if path.exists() else []


def _readings(host: Path) -> dict[int, dict[str, Any]]:
    """Return the server's answers by number: reading i stands before phase i, reading i + 1 after it."""
    path = host / "observed.json"
    if not path.exists():
        return {}
    told = json.loads(path.read_text())["usage"].get(f"{host.name}/server", [])
    return {reading["reading"]: reading for reading in told if "cpu_total_ns" in reading and "reading" in reading}


def _server_row(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    row = {key: after[key] - before[key] for key in DIFFERENCES if key in after and key in before}
    row |= {key: after.get(key) for key in LEVELS} | {"pss_before_bytes": before.get("pss_bytes")}
    row |= {"wall_ns": after["t_ns"] - before["t_ns"], "cpu_ns": after["cpu_total_ns"] - before["cpu_total_ns"]}
    calls = _calls(before, after)
    if calls:
        row |= {"syscalls": sum(call["calls"] for call in calls), "syscall_method": calls[0]["method"]}
    sockets = after.get("sockstat") or {}
    if "sockstat.TCP.mem" in sockets:
        memory = sockets["sockstat.TCP.mem"] * PAGE_BYTES
        row |= {"sockets": sockets["sockstat.TCP.inuse"], "socket_memory_bytes": memory}
    return row


def _calls(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    earlier, later = (reading.get("syscalls") or {"method": "none", "calls": {}} for reading in (before, after))
    grown = {name: count - earlier["calls"].get(name, 0) for name, count in later["calls"].items()}
    return [{"name": name, "calls": count, "method": later["method"]} for name, count in grown.items() if count > 0]


def _fleet_counts(phases: list[dict[str, Any]]) -> dict[str, int | None]:
    if not phases:
        return {"messages": None, "open": None, "fleet_ns": None}
    return {
        "fleet_ns": max(int(phase["end_ns"] or 0) - int(phase["begin_ns"] or 0) for phase in phases),
        "messages": sum(int(phase["counts"].get("received", 0)) for phase in phases),
        "open": sum(int(phase["open_at_end"]) for phase in phases),
    }


def _packets(folder: Path, host: str, phases: list[dict[str, Any]]) -> int | None:
    """Count the packets captured at a host from the first fleet host's begin of a phase to the last one's end."""
    table = folder / "tables" / "packets.parquet"
    if not table.exists() or not phases:
        return None
    begin = min(phase["begin_realtime_ns"] for phase in phases)
    end = max(phase["end_realtime_ns"] for phase in phases)
    mine = pl.scan_parquet(table).filter(pl.col("host") == host)
    counts = mine.select(pl.len().alias("all"), pl.col("t_ns").is_between(begin, end).sum().alias("in")).collect()
    return int(counts["in"][0]) if counts["all"][0] else None


def _frame(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        {column.name: pl.Series([row.get(column.name) for row in rows], dtype=column.dtype) for column in columns}
    )
