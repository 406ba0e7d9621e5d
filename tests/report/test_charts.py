"""The charts show what the tables hold: maxima, percentiles and counts can be read back from the drawing."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from scripts import START_NS, connection_row, write_run

from lab.report import charts
from lab.report.chart import HEIGHT, Axis, Line, chart, linear, log_time, percentiles
from lab.report.run_files import RunFiles

NAMES = {"svg": "http://www.w3.org/2000/svg"}


def run_with(tmp_path: Path, name: str, rows: list[dict[str, object]]) -> RunFiles:
    folder = write_run(tmp_path)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / "tables" / f"{name}.parquet")
    return RunFiles.read(folder)


def summary_of(drawn: str | None) -> str:
    assert drawn is not None
    return ElementTree.fromstring(drawn).findtext("svg:desc", namespaces=NAMES) or ""


def labels_of(drawn: str | None) -> list[str]:
    assert drawn is not None
    return ["".join(node.itertext()) for node in ElementTree.fromstring(drawn).findall(".//svg:text", NAMES)]


def test_open_connections_peak_where_they_overlap(tmp_path: Path):
    spans = [(0, 100), (10, 100), (20, 30), (200, 10)]
    rows = [
        connection_row(n, start_ns=START_NS + 1_000_000 * at, duration_ns=1_000_000 * long)
        for n, (at, long) in enumerate(spans)
    ]
    drawn = charts.open_over_time(run_with(tmp_path, "connections", rows))
    assert summary_of(drawn) == "at most 3 connections open at the same moment, seen at server"


def test_connection_that_opens_the_moment_another_closes_is_counted_beside_it(tmp_path: Path):
    rows = [connection_row(n, start_ns=START_NS + 1000 * n, duration_ns=1000) for n in range(2)]
    drawn = charts.open_over_time(run_with(tmp_path, "connections", rows))
    assert summary_of(drawn).startswith("at most 2 ")


def test_latency_ends_at_the_slowest_answer(tmp_path: Path):
    rows = [{"kind": "message", "service_ns": 1000 * n, "response_ns": 7000 * n} for n in range(1, 1001)]
    drawn = charts.latency(run_with(tmp_path, "latency", rows))
    assert summary_of(drawn) == "service time: slowest 1 ms; response time: slowest 7 ms"


def test_response_time_that_is_service_time_is_drawn_once(tmp_path: Path):
    rows = [{"kind": "message", "service_ns": 1000 * n, "response_ns": 1000 * n} for n in range(1, 101)]
    assert summary_of(charts.latency(run_with(tmp_path, "latency", rows))) == "service time: slowest 100 us"


def test_unanswered_messages_have_no_place_in_the_curve(tmp_path: Path):
    rows = [{"kind": "message", "service_ns": n or None, "response_ns": n or None} for n in (0, 5000, 9000)]
    assert summary_of(charts.latency(run_with(tmp_path, "latency", rows))) == "service time: slowest 9 us"


def test_both_halves_of_the_handshake_are_drawn_with_their_medians(tmp_path: Path):
    rows = [connection_row(n, syn_ack_rtt_ns=1000 * (n + 1), ack_rtt_ns=10_000) for n in range(5)]
    drawn = charts.handshakes(run_with(tmp_path, "connections", rows))
    assert summary_of(drawn) == "SYN to SYN-ACK: median 3 us; SYN-ACK to ACK: median 10 us"
    assert "5" in labels_of(drawn)  # the axis reaches the fullest bin, that of the five equal ACKs


def test_run_without_tables_has_no_charts(tmp_path: Path):
    folder = write_run(tmp_path)
    (folder / "tables" / "connections.parquet").unlink()
    assert list(charts.charts(RunFiles.read(folder))) == []


@pytest.mark.parametrize("high", [0.001, 1, 3, 10, 9_999, 10_000, 123_456_789])
def test_linear_axis_reaches_its_values_in_few_round_steps(high: float):
    axis = linear(high, "")
    assert axis.high >= high * (1 - 1e-9)
    assert 4 <= len(axis.ticks) <= 8


@pytest.mark.parametrize(("low", "high"), [(1, 1), (900, 1100), (50, 2 * 10**9), (10**6, 10**6)])
def test_time_axis_covers_its_values_in_whole_decades(low: int, high: int):
    axis = log_time(low, high, "")
    assert axis.low <= low <= high <= axis.high
    assert axis.share(axis.low) == 0
    assert axis.share(axis.high) == 1


def test_each_nine_takes_the_same_room_on_the_percentile_axis():
    axis = percentiles(100_000, "")
    place = {name: axis.share(value) for value, name in axis.ticks}
    assert place["p99"] - place["p90"] == pytest.approx(place["p99.9"] - place["p99"])
    assert place["max"] == 1


def test_higher_values_are_drawn_higher():
    axis = Axis(low=0, high=10, ticks=((0, "0"), (10, "10")), label="")
    drawn = chart("t", axis, axis, [Line(name="a", hue="blue", points=[(0, 0), (10, 10)])], "")
    path = re.search(r'd="M([\d.]+),([\d.]+) L([\d.]+),([\d.]+)" class="line', drawn)
    assert path is not None
    x1, y1, x2, y2 = map(float, path.groups())
    assert x2 > x1
    assert HEIGHT > y1 > y2 > 0
