"""Scenarios of the catalogue, end to end: a series in every test run, a sample on every engine where Docker is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from composes import ENGINES, chosen
from engine_lab import facts_or_skip
from typed_command import Typed

PROJECT = Path(__file__).parents[2]
SERIES = ["epoll-100k", "epoll-1m", "idle-crowd", "io-models"]
"""Minutes each: run by hand."""
MAIN = "epoll-10k"
EVERY = sorted({path.stem for path in (PROJECT / "scenarios").glob("*.yaml")} - {MAIN, *SERIES})
SAMPLE = [
    "handshake",
    "model-blocking",
    "model-epoll",
    "model-udp",
    "model-uvloop",
    "abort",
    "ip-fragments",
    "broadcast-storm",
]
"""A script, a server that a script drives, a fleet, datagrams, a library's image, a reset, fragments over Docker's
bridges, switches: in every live run, on both engines. `make test-catalogue` runs them all."""
LIVE = EVERY if os.environ.get("LAB_CATALOGUE") == "all" else SAMPLE
BOUND_S = 600.0


def lab(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Run the command to its end; return exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def passes(name: str, engine: str, cwd: Path) -> None:
    code, out, err = lab("run", name, "--engine", engine, "--quiet", cwd=cwd)
    if code == 3:
        pytest.skip(f"this machine cannot run {name} on {engine}: {err.strip()[-300:]}")
    assert code == 0, out + err


@pytest.mark.live  # two whole runs: the daily tests hold a series' logic in tests/test_series.py
def test_a_series_ends_with_a_table_and_can_be_compared(tmp_path: Path, typed: Typed) -> None:
    facts_or_skip("netns")
    code, out, err = lab("run", "model-nonblocking", "--engine", "netns", "--quiet", cwd=tmp_path)
    assert code == 0, out + err
    folder = tmp_path / "runs" / "model-nonblocking" / "latest"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert [row["name"] for row in verdict["table"]] == ["nonblocking", "epoll"]
    assert all(row["columns"]["server.syscalls_per_message"]["median"] > 1 for row in verdict["table"])
    for name in ("nonblocking-1", "epoll-1"):
        cell = folder / "cells" / name
        assert all((cell / file).exists() for file in ("manifest.json", "verdict.json", "tables/usage.parquet"))
    assert "nonblocking" in (folder / "summary.txt").read_text()
    cells = [str(folder / "cells" / name) for name in ("nonblocking-1", "epoll-1")]
    code, out, err = typed("compare", "--json", "--column", "server.idle_cpu", *cells)
    assert code == 0, err
    (pair,) = json.loads(out)["differences"]
    assert pair["times"] < 0.1, "the epoll server idles"
    assert pair["differ"] is None, "one run each shows no difference"
    code, out, err = typed("compare", "model-nonblocking")
    assert (code, "One run each: no interval" in out) == (0, True), out + err


def test_comparing_what_is_not_there_exits_2(typed: Typed) -> None:
    code, _, err = typed("compare", "never-ran")
    assert code == 2
    assert "no such run, got 'never-ran'" in err


@pytest.mark.live
@pytest.mark.parametrize("engine", ["netns", "compose"])
@pytest.mark.parametrize("name", LIVE)
def test_a_scenario_of_the_catalogue_passes(name: str, engine: str, tmp_path: Path) -> None:
    facts_or_skip(engine)
    passes(name, engine, tmp_path)


@pytest.mark.live
@pytest.mark.parametrize("engine", ENGINES)
def test_ten_thousand_connections_pass_on_every_engine_and_with_each_compose(engine: str, tmp_path: Path) -> None:
    with chosen(engine) as name:
        facts_or_skip(name)
        passes(MAIN, name, tmp_path)
        manifest = json.loads((tmp_path / "runs" / MAIN / "latest" / "manifest.json").read_text())
    assert manifest["engine"] == name
