"""The phases of a run as rows: the longest host's time, all hosts' counts, each side's processor time for one."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from scripts import write_run

from lab.report.html import report_html
from lab.report.phases import phases
from lab.report.run_files import RunFiles
from lab.report.text import summary_text

MS = 1_000_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of ten connections: 5 ms of connecting (20 us of the server each, 30 us of the fleet), a hold, a drain."""
    folder = write_run(tmp_path)
    path = folder / "hosts/client-1/fleet.json"
    told = [
        {"index": 0, "phase": "connect", "counts": {"opened": 10, "attempted": 10}},
        {"index": 1, "phase": "hold", "counts": {}},
        {"index": 2, "phase": "drain", "counts": {"closed_orderly": 10}},
    ]
    path.write_text(json.dumps({**json.loads(path.read_text()), "phases": told}))
    rows = [
        ("server", 0, "connect", 5 * MS, 200_000),
        ("fleet", 0, "connect", 4 * MS, 100_000),
        ("fleet", 0, "connect", 5 * MS, 200_000),
        ("fleet", 1, "hold", 1000 * MS, 7_000),
        ("fleet", 2, "drain", 2 * MS, 50_000),
    ]
    frame = pl.DataFrame(rows, schema=["role", "index", "phase", "fleet_ns", "cpu_ns"], orient="row")
    frame.write_parquet(folder / "tables" / "usage.parquet")
    return folder


def test_a_phase_took_as_long_as_its_slowest_host_and_counts_all_hosts(run: Path):
    connect, hold, drain = phases(RunFiles.read(run))
    assert (connect.phase, connect.took_ns, connect.count) == ("connect", 5 * MS, 10)
    assert connect.cells() == ("connect", "5 ms", "10 connections opened", "2,000", "20 us", "30 us")
    assert hold.cells() == ("hold", "1 s", "", "", "", "")
    assert (drain.count, drain.what) == (10, "connections closed")


def test_what_a_server_did_not_tell_is_left_empty_and_not_zero(run: Path):
    drain = phases(RunFiles.read(run))[2]
    assert drain.server_cpu_ns is None
    assert drain.cells()[4] == ""


def test_summary_and_report_show_the_same_cells(run: Path):
    assert "connect       5 ms  10 connections opened     2,000            20 us           30 us" in summary_text(run)
    assert "<td>10 connections opened</td>" in report_html(run)


def test_a_run_without_phases_has_no_rows_and_no_heading(tmp_path: Path):
    run = write_run(tmp_path)
    assert phases(RunFiles.read(run)) == []
    assert "Phase by phase" not in summary_text(run) + report_html(run)
