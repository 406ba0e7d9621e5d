"""Latency logs as tables: what is read back, what the percentiles mean, and that others can read the histograms."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from hdrh.histogram import HdrHistogram

from lab.analysis.latency import SCHEMA, export_hdr, hdr_histogram, nearest_rank, read_latency, summarise
from lab.errors import LabError
from lab.inside.fleet.latency_log import CONNECT, NEVER, PROBE, LatencyLog

Record = tuple[int, int, int, int]


def written(folder: Path, *phases: tuple[int, list[Record]], worker: int = 0) -> Path:
    """Write a log as a fleet worker does: for each phase its kind and records (connection, planned, sent, done)."""
    log = LatencyLog(folder, worker, most=10**6)
    for index, (kind, records) in enumerate(phases):
        log.begin(index, kind)
        for record in records:
            log.add(*record)
    log.close()
    return folder / f"latency-{worker}.bin"


def test_what_a_worker_logs_is_read_back_with_its_two_times(tmp_path: Path) -> None:
    file = written(tmp_path, (CONNECT, [(0, 100, 110, 150)]), (0, [(0, 1000, 1300, 1350), (1, 2000, 2000, NEVER)]))
    table = read_latency([file], host="client-1", phases=["connect", "load"])
    assert dict(table.schema) == SCHEMA
    columns = ["phase", "kind", "connection", "done_ns", "service_ns", "response_ns"]
    assert table.select(columns).rows() == [
        ("connect", "connect", 0, 150, 40, 50),
        ("load", "message", 0, 1350, 50, 350),
        ("load", "message", 1, None, None, None),
    ]


def test_times_are_anchored_to_the_clock_of_captures(tmp_path: Path) -> None:
    log = LatencyLog(tmp_path, 0, most=10)
    log.add(0, log.monotonic_ns + 5, log.monotonic_ns + 7, log.monotonic_ns + 9)
    log.close()
    table = read_latency([tmp_path / "latency-0.bin"], host="h")
    assert table["t_ns"].item() == log.realtime_ns + 7


def test_workers_of_a_host_make_one_table_in_the_order_sent(tmp_path: Path) -> None:
    files = [written(tmp_path, (0, [(w, t, t, t + 1) for t in range(w, 100, 2)]), worker=w) for w in range(2)]
    table = read_latency(files, host="h")
    assert table["sent_ns"].to_list() == list(range(100))
    assert table["phase"].null_count() == 100, "no names were given"


def test_no_files_make_an_empty_table_of_the_same_columns() -> None:
    table = read_latency([], host="h")
    assert dict(table.schema) == SCHEMA
    assert summarise(table).height == 0


def test_a_record_cut_off_by_a_killed_worker_is_left_out(tmp_path: Path) -> None:
    file = written(tmp_path, (0, [(0, 1, 1, 2), (1, 1, 1, 2)]))
    file.write_bytes(file.read_bytes()[:-5])
    assert read_latency([file], host="h")["connection"].to_list() == [0]


@pytest.mark.parametrize("content", [b"", b"LABLAT0", b"\xd4\xc3\xb2\xa1" + bytes(100)])
def test_a_file_that_is_no_log_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "latency-0.bin"
    file.write_bytes(content)
    with pytest.raises(LabError, match=r"latency-0\.bin: not a latency log"):
        read_latency([file], host="h")


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000, 1001])
def test_percentiles_are_the_nearest_ranks_of_unrounded_times(count: int, tmp_path: Path) -> None:
    chance = random.Random(count)
    times = [chance.randrange(1, 10**9) for _ in range(count)]
    file = written(tmp_path, (0, [(0, 0, 0, time) for time in times]))
    row = summarise(read_latency([file], host="h")).filter(time="service").row(0, named=True)
    expected = {
        "min_ns": min(times),
        "p50_ns": nearest_rank(times, 0.50),
        "p90_ns": nearest_rank(times, 0.90),
        "p99_ns": nearest_rank(times, 0.99),
        "p99_9_ns": nearest_rank(times, 0.999),
        "max_ns": max(times),
    }
    assert {name: row[name] for name in expected} == expected


def test_the_summary_tells_service_from_response_and_counts_the_unanswered(tmp_path: Path) -> None:
    load = [(0, 0, 50, 60), (0, 10, 60, 75), (0, 20, 75, NEVER)]
    file = written(tmp_path, (0, load), (PROBE, [(1, 0, 0, NEVER)]))
    summary = summarise(read_latency([file], host="h", phases=["load", "probe"]))
    columns = ["phase", "kind", "time", "count", "unanswered", "min_ns", "max_ns"]
    assert summary.select(columns).rows() == [
        ("load", "message", "service", 3, 1, 10, 15),
        ("load", "message", "response", 3, 1, 60, 65),
        ("probe", "probe", "service", 1, 1, None, None),
        ("probe", "probe", "response", 1, 1, None, None),
    ]


def test_histograms_bin_exactly_as_recording_each_time_would() -> None:
    chance = random.Random(1)
    times = [int(10 ** chance.uniform(0, 12.5)) for _ in range(5000)] + [0, 1, 2047, 2048, 2049]
    one_by_one = HdrHistogram(1, 3_600_000_000_000, 3)
    for time in times:
        one_by_one.record_value(max(min(time, 3_600_000_000_000), 1))
    binned = hdr_histogram(pl.Series(times))
    assert binned.get_total_count() == len(times)
    assert [binned.get_value_at_percentile(p) for p in (0, 10, 50, 90, 99, 99.9, 100)] == [
        one_by_one.get_value_at_percentile(p) for p in (0, 10, 50, 90, 99, 99.9, 100)
    ]


def test_exported_histograms_decode_to_the_percentiles_within_their_three_digits(tmp_path: Path) -> None:
    chance = random.Random(2)
    times = [chance.randrange(10_000, 10**8) for _ in range(3000)]
    file = written(tmp_path, (0, [(0, 0, 0, time) for time in times]))
    exported = export_hdr(read_latency([file], host="h", phases=["load"]))
    assert exported.select("host", "phase", "kind", "time", "count").rows() == [
        ("h", "load", "message", "response", 3000),
        ("h", "load", "message", "service", 3000),
    ]
    decoded = HdrHistogram.decode(exported["hdr"][0])
    for percent in (50, 99):
        assert decoded.get_value_at_percentile(percent) == pytest.approx(nearest_rank(times, percent / 100), rel=1e-3)
