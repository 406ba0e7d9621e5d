"""What a phase cost: the difference of the readings around it, and the measures made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab.analysis.usage_tables import SYSCALLS, USAGE, usage_tables
from lab.verdict.observe import Evidence, observe
from tests.verdict.run_folder import make_run

MS = 1_000_000


def reading(number: int, cpu_ms: int, calls: dict[str, int], pss: int, threads: int = 1) -> dict[str, Any]:
    usage = {"cpu_total_ns": cpu_ms * MS, "voluntary_switches": 10 * number, "involuntary_switches": 0}
    usage["run_delay_ns"] = 5 * MS * number
    levels = {"processes": 1, "threads": threads, "descriptors": 9, "rss_bytes": 2 * pss, "pss_bytes": pss}
    sockets = {"sockstat.TCP.inuse": 3, "sockstat.TCP.mem": 2}
    called = {"method": "libc", "calls": calls}
    return {"reading": number, "t_ns": number * 100 * MS, **usage, **levels, "sockstat": sockets, "syscalls": called}


READINGS = [
    reading(0, 50, {"read": 5}, 1_000_000),
    reading(1, 60, {"read": 5, "accept4": 2}, 1_020_000, threads=3),
    reading(2, 61, {"read": 5, "accept4": 2}, 1_040_000),
    reading(3, 81, {"read": 205, "write": 200, "accept4": 2}, 1_050_000),
]


def phase(name: str, number: int, received: int) -> dict[str, Any]:
    times = {"begin_realtime_ns": number * 100 * MS, "end_realtime_ns": (number + 1) * 100 * MS}
    times |= {"begin_ns": 7 * MS, "end_ns": 87 * MS}
    counts = {"received": received} if received else {}
    row = {"phase": name, "index": number, **times, "counts": counts, "open_at_end": 4, "cpu_ns": [3 * MS, 4 * MS]}
    return {**row, "lateness": {"p99_ns": None}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    phases = [phase("connect", 0, 0), phase("hold", 1, 0), phase("load", 2, 200)]
    fleet = {"opened": 4, "errors": {}, "arrivals": {"not_started": 0}, "phases": phases}
    make_run(tmp_path, fleet=fleet)
    observed = json.loads((tmp_path / "hosts/server/observed.json").read_text())
    observed["usage"] = {"server/server": READINGS}
    (tmp_path / "hosts/server/observed.json").write_text(json.dumps(observed))
    packets = pl.read_parquet(tmp_path / "tables/packets.parquet")
    times = pl.Series("t_ns", [250 * MS] * 12 + [50 * MS] * 6)
    packets.with_columns(times).write_parquet(tmp_path / "tables/packets.parquet")
    for name, frame in usage_tables(tmp_path).items():
        frame.write_parquet(tmp_path / "tables" / f"{name}.parquet")
    return tmp_path


def value(folder: Path, what: str) -> float | None:
    return observe(what, "server", Evidence.read(folder)).value


def test_a_row_is_the_difference_of_two_readings_and_the_levels_after(folder: Path) -> None:
    usage = pl.read_parquet(folder / "tables/usage.parquet")
    assert usage.columns == [column.name for column in USAGE]
    load = usage.filter((pl.col("role") == "server") & (pl.col("phase") == "load")).to_dicts()[0]
    wanted = {"wall_ns": 100 * MS, "cpu_ns": 20 * MS, "messages": 200, "syscalls": 400, "syscall_method": "libc"}
    assert {key: load[key] for key in wanted} == wanted
    assert (load["packets"], load["socket_memory_bytes"], load["pss_before_bytes"]) == (12, 8192, 1_040_000)
    fleet = usage.filter(pl.col("role") == "fleet")
    assert fleet["cpu_ns"].to_list() == [7 * MS] * 3


def test_system_calls_are_counted_by_name_and_phase(folder: Path) -> None:
    calls = pl.read_parquet(folder / "tables/syscalls.parquet")
    assert calls.columns == [column.name for column in SYSCALLS]
    found = {(row["phase"], row["name"]): row["calls"] for row in calls.to_dicts()}
    assert found == {("connect", "accept4"): 2, ("load", "read"): 200, ("load", "write"): 200}


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("server.load_cpu", 20 * MS),
        ("server.load_cpu_per_message", MS / 10),
        ("server.load_rate", 2500.0),
        ("server.load_cores", 0.2),
        ("server.load_runnable", 0.25),
        ("server.start_cpu", 11 * MS / 4),
        ("server.idle_cpu", 0.01),
        ("server.syscalls_per_message", 2.0),
        ("server.syscalls_per_message.write", 1.0),
        ("server.syscalls_per_message.epoll_wait", 0.0),
        ("server.switches_per_message", 0.05),
        ("server.packets_per_message", 0.06),
        ("server.memory_per_connection", 10_000.0),
        ("server.threads_peak", 3.0),
        ("server.processes_peak", 1.0),
        ("server.descriptors_peak", 9.0),
    ],
)
def test_each_measure_of_use_counts_its_own_phases(folder: Path, what: str, wanted: float) -> None:
    assert value(folder, what) == pytest.approx(wanted)


def test_a_reading_that_is_missing_leaves_its_phases_out(folder: Path) -> None:
    observed = json.loads((folder / "hosts/server/observed.json").read_text())
    observed["usage"]["server/server"] = [one for one in READINGS if one["reading"] != 2]
    (folder / "hosts/server/observed.json").write_text(json.dumps(observed))
    usage = usage_tables(folder)["usage"].filter(pl.col("role") == "server")
    assert usage["phase"].to_list() == ["connect"]


def test_a_run_without_readings_has_empty_tables_and_unknown_measures(tmp_path: Path) -> None:
    make_run(tmp_path)
    for name, frame in usage_tables(tmp_path).items():
        assert frame.is_empty()
        frame.write_parquet(tmp_path / "tables" / f"{name}.parquet")
    assert value(tmp_path, "server.load_cpu_per_message") is None
    assert value(tmp_path, "server.memory_per_connection") is None
