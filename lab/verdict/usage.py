"""What the server cost, phase by phase: measures over `tables/usage.parquet` and `tables/syscalls.parquet`.

Load means the phases in which messages flow (load, probe, burst, slow-read, churn); idle means `hold`. A cost per
message is what the server used in the load phases alone, over the answers that the fleet got in them: what starting,
accepting and closing cost stays out.
"""

from __future__ import annotations

import polars as pl

from lab.verdict.observe import Evidence, Observation

LOAD = ("load", "probe", "burst", "slow-read", "churn")
PER_MESSAGE = {
    "load_cpu_per_message": "cpu_ns",
    "syscalls_per_message": "syscalls",
    "switches_per_message": "voluntary_switches",
    "packets_per_message": "packets",
}
LEVELS = {"threads_peak": "threads", "processes_peak": "processes", "descriptors_peak": "descriptors"}


def observe_usage(what: str, _at: str, evidence: Evidence) -> Observation:
    """Observe one measure of the server's cost. Raises OSError for a run without the tables."""
    name = what.removeprefix("server.")
    host = evidence.manifest["server_host"]
    usage = pl.read_parquet(evidence.folder / "tables" / "usage.parquet")
    usage = usage.filter((pl.col("role") == "server") & (pl.col("host") == host))
    load = usage.filter(pl.col("phase").is_in(list(LOAD)))
    if name.startswith("syscalls_per_message."):
        return _one_call(name.partition(".")[2], evidence, load)
    if name in PER_MESSAGE:
        return _per_message(load, PER_MESSAGE[name])
    if name in LEVELS:
        return _number(usage[LEVELS[name]].max(), f"{LEVELS[name]}, the most at the end of a phase")
    return {
        "load_cpu": _load_cpu,
        "load_rate": _load_rate,
        "load_cores": _load_cores,
        "load_runnable": _load_runnable,
        "start_cpu": _start_cpu,
        "memory_per_connection": _memory,
        "idle_cpu": _idle,
    }[name](usage, load)


def _number(value: object, evidence: str) -> Observation:
    number = float(value) if isinstance(value, int | float) else None
    return Observation(value=number, evidence=f"tables/usage.parquet: {evidence}")


def _per_message(load: pl.DataFrame, column: str) -> Observation:
    if load.is_empty() or load[column].null_count():
        return _number(None, f"no load phase tells `{column}`")
    messages = int(load["messages"].sum())
    if not messages:
        return _number(None, "no message was answered in a load phase")
    total = int(load[column].sum())
    return _number(total / messages, f"{column} {total:,} over {messages:,} messages of the load phases")


def _one_call(call: str, evidence: Evidence, load: pl.DataFrame) -> Observation:
    messages = int(load["messages"].sum())
    if not messages or load["syscalls"].null_count():
        return _number(None, "system calls were not counted, or no message was answered")
    table = pl.read_parquet(evidence.folder / "tables" / "syscalls.parquet")
    mine = table.filter((pl.col("name") == call) & pl.col("phase").is_in(list(LOAD)))
    calls = int(mine["calls"].sum())
    text = f"tables/syscalls.parquet: {calls:,} {call} over {messages:,} messages of the load phases"
    return Observation(value=calls / messages, evidence=text)


def _load_cpu(_usage: pl.DataFrame, load: pl.DataFrame) -> Observation:
    return _number(int(load["cpu_ns"].sum()) if load.height else None, "cpu_ns of the load phases")


def _load_rate(_usage: pl.DataFrame, load: pl.DataFrame) -> Observation:
    wall, messages = int(load["fleet_ns"].sum()), int(load["messages"].sum())
    return _number(messages / wall * 1e9 if wall else None, f"{messages:,} messages in {wall / 1e9:.3g} s of load")


def _load_cores(_usage: pl.DataFrame, load: pl.DataFrame) -> Observation:
    wall, cpu = int(load["wall_ns"].sum()), int(load["cpu_ns"].sum())
    return _number(cpu / wall if wall else None, f"cpu_ns {cpu:,} over wall_ns {wall:,} of the load phases")


def _load_runnable(_usage: pl.DataFrame, load: pl.DataFrame) -> Observation:
    if load.is_empty() or load["run_delay_ns"].null_count():
        return _number(None, "no load phase tells `run_delay_ns`")
    wall, cpu, delay = (int(load[key].sum()) for key in ("wall_ns", "cpu_ns", "run_delay_ns"))
    return _number((cpu + delay) / wall, f"cpu_ns {cpu:,} and run_delay_ns {delay:,} over wall_ns {wall:,} of load")


def _start_cpu(usage: pl.DataFrame, _load: pl.DataFrame) -> Observation:
    before = usage.filter(pl.col("phase").is_in(["connect", "hold"]) & (pl.col("open") > 0))
    if before.is_empty():
        return _number(None, "there was no connect phase")
    cpu, opened = int(before["cpu_ns"].sum()), int(before["open"][-1])
    return _number(cpu / opened, f"cpu_ns {cpu:,} of the connect and hold phases over {opened:,} connections")


def _idle(usage: pl.DataFrame, _load: pl.DataFrame) -> Observation:
    hold = usage.filter(pl.col("phase") == "hold")
    wall, cpu = int(hold["wall_ns"].sum()), int(hold["cpu_ns"].sum())
    return _number(cpu / wall if wall else None, f"cpu_ns {cpu:,} over wall_ns {wall:,} of the hold phases")


def _memory(usage: pl.DataFrame, _load: pl.DataFrame) -> Observation:
    """Growth from before the first phase to the last one in which connections were there and silent.

    A few pages less than before are a process that gave memory back meanwhile, not connections that bring some: 0 then.
    """
    silent = usage.filter(pl.col("phase").is_in(["connect", "hold"]) & (pl.col("open") > 0))
    if silent.is_empty() or silent["pss_bytes"][-1] is None:
        return _number(None, "memory was not read with connections open and silent")
    grown, opened = int(silent["pss_bytes"][-1]) - int(silent["pss_before_bytes"][0]), int(silent["open"][-1])
    return _number(max(grown, 0) / opened, f"pss_bytes grew by {grown:,} over {opened:,} connections")
