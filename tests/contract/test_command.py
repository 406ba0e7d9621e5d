"""The `lab` command as its user meets it, on every engine: exit codes, files, Ctrl-C, crashes, runs side by side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from engine_lab import facts_or_skip

pytestmark = pytest.mark.xdist_group("whole labs")

PROJECT = Path(__file__).parents[2]
SMALL = ["run", "epoll-10k", "--set", "fleet.connections=200", "--set", "fleet.phases[1].duration=200ms"]
BOUND_S = 300.0


@pytest.fixture(scope="module", params=["netns", pytest.param("compose", marks=pytest.mark.live)])
def engine(request: pytest.FixtureRequest) -> str:
    facts_or_skip(request.param)
    return str(request.param)


# A test runner may have been started with SIGINT ignored, which its children inherit; a terminal never does that.
AS_IN_A_TERMINAL = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
)


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL, sys.executable, "-m", "lab", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def lab(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Run the command to its end; return exit code, standard output, standard error."""
    process = start(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=BOUND_S)
    return process.returncode, out, err


def await_stage(process: subprocess.Popen[str], wanted: str) -> str:
    """Read the command's progress until a line with `wanted` appears; return what was read."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if wanted in line:
            return "".join(seen)
    raise AssertionError(f"ended with {process.wait()} before {wanted!r}:\n" + "".join(seen))


def await_none(find: Callable[[], list[str]], within_s: float) -> None:
    """Wait until `find` finds nothing, at most `within_s`."""
    deadline = time.monotonic() + within_s
    while left := find():
        assert time.monotonic() < deadline, f"still there after {within_s} s: {left}"
        time.sleep(0.05)


def leftovers(cwd: Path) -> list[str]:
    """List what `lab clean` would remove now of the runs below `cwd`."""
    code, out, err = lab("clean", "--dry-run", cwd=cwd)
    assert code == 0, err
    runs = [folder.name for folder in cwd.glob("runs/*/*")]
    return [line for line in out.splitlines() if line.endswith(tuple(f"of run {run}" for run in runs))]


def test_a_run_passes_and_leaves_its_evidence(engine: str, tmp_path: Path) -> None:
    code, out, err = lab(*SMALL, "--engine", engine, cwd=tmp_path)
    assert code == 0, out + err
    folder = tmp_path / "runs" / "epoll-10k" / "latest"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["engine"]) == ("pass", engine)
    assert {row["what"]: row["observed"] for row in verdict["expectations"]}["handshake.complete"] == 200
    assert verdict["capture"]["server"]["dropped"] == 0
    for name in ("summary.txt", "scenario.yaml", "topology.json", "manifest.json", "tables/connections.parquet"):
        assert (folder / name).stat().st_size > 0, name
    assert "epoll-10k" in out
    assert leftovers(tmp_path) == []
    if shutil.which("tshark"):
        counted = subprocess.run(
            ["tshark", "-r", str(folder / "captures" / "server.pcapng"), "-T", "fields", "-e", "frame.number"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(counted.stdout.splitlines()) == verdict["capture"]["server"]["written"]


def test_data_is_on_standard_output_alone(engine: str, tmp_path: Path) -> None:
    code, out, _ = lab(*SMALL, "--engine", engine, "--json", cwd=tmp_path)
    assert (code, json.loads(out)["verdict"]) == (0, "pass")


def test_an_expectation_that_does_not_hold_exits_1(engine: str, tmp_path: Path) -> None:
    code, out, _ = lab(*SMALL, "--engine", engine, "--set", "expect[0].equal=201", cwd=tmp_path)
    assert code == 1, out
    assert "fail" in out.lower()


SOMETIMES = pytest.mark.live
"""Stages that the daily tests leave to the live ones: whole labs are their longest part."""


@pytest.mark.parametrize(
    "stage", [pytest.param("hosts", marks=SOMETIMES), "starting", "connect", pytest.param("draining", marks=SOMETIMES)]
)
def test_an_interrupted_run_leaves_nothing_and_exits_130(engine: str, stage: str, tmp_path: Path) -> None:
    process = start(*SMALL, "--engine", engine, cwd=tmp_path)
    await_stage(process, stage)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=BOUND_S)
    assert process.returncode == 130, out + err
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "stage",
    [pytest.param("hosts", marks=SOMETIMES), "starting", "connect", pytest.param("collecting", marks=SOMETIMES)],
)
def test_what_a_killed_run_left_clean_removes(engine: str, stage: str, tmp_path: Path) -> None:
    process = start(*SMALL, "--engine", engine, cwd=tmp_path)
    await_stage(process, stage)
    process.kill()
    process.communicate(timeout=BOUND_S)
    code, out, err = lab("clean", cwd=tmp_path)
    assert code == 0, out + err
    await_none(lambda: leftovers(tmp_path), within_s=30.0)


def test_two_runs_at_the_same_time_both_pass(engine: str, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    runs = [start(*SMALL, "--engine", engine, "--json", cwd=folder) for folder in folders]
    for run in runs:
        out, err = run.communicate(timeout=BOUND_S)
        assert run.returncode == 0, out + err


def test_a_lab_that_is_up_can_be_entered_and_ends_with_its_captures(engine: str, tmp_path: Path) -> None:
    code, out, err = lab("up", "epoll-10k", "--engine", engine, cwd=tmp_path)
    assert code == 0, out + err
    try:
        ask = "import socket; s = socket.create_connection(('server', 9000)); s.sendall(b'hello'); print(s.recv(9))"
        code, out, err = lab("exec", "client-1", "--", "python3", "-c", ask, cwd=tmp_path)
        assert (code, out.strip()) == (0, "b'HELLO'"), err
        code, _, _ = lab("exec", "client-1", "--", "sh", "-c", "exit 7", cwd=tmp_path)
        assert code == 7
        assert leftovers(tmp_path) == [], "a lab left on purpose is not left behind"
    finally:
        code, out, err = lab("down", cwd=tmp_path)
    assert code == 0, out + err
    assert (tmp_path / "runs" / "epoll-10k" / "latest" / "captures" / "server.pcapng").stat().st_size > 500
    assert leftovers(tmp_path) == []


def test_a_wrong_value_exits_2_and_names_file_line_and_key(tmp_path: Path) -> None:
    code, out, err = lab("run", "epoll-10k", "--set", "fleet.connections=many", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "scenarios/epoll-10k.yaml:" in err
    assert "fleet.connections: not a count, got 'many'" in err
    assert not (tmp_path / "runs").exists()


def test_no_docker_engine_exits_3_with_the_remedy(tmp_path: Path) -> None:
    code, _, err = lab(*SMALL, "--engine", "compose", cwd=tmp_path, DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert code == 3
    assert "hint:" in err


def test_without_docker_auto_chooses_netns_and_says_why(tmp_path: Path) -> None:
    facts_or_skip("netns")
    code, out, err = lab(*SMALL, cwd=tmp_path, DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert code == 0, out + err
    assert "engine netns" in err
    assert "not compose:" in err


@pytest.mark.parametrize(
    "arguments", [["run", "epol-10k"], ["run"], ["run", "epoll-10k", "--engine", "magic"], ["fly"]]
)
def test_wrong_usage_exits_2(arguments: list[str], tmp_path: Path) -> None:
    code, _, err = lab(*arguments, cwd=tmp_path)
    assert code == 2
    assert err


def columns(folder: Path) -> dict[str, dict[str, str]]:
    """Return every table's columns with their types."""
    tables = sorted((folder / "tables").glob("*.parquet"))
    return {table.stem: {name: str(kind) for name, kind in pl.read_parquet_schema(table).items()} for table in tables}


def form(value: object) -> object:
    """Return the keys of nested data, without its values; a list of texts may be empty in one run, not in another."""
    if isinstance(value, dict):
        return {key: form(part) for key, part in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value and isinstance(value[0], dict) else "list"
    return None


@pytest.mark.live
def test_the_same_scenario_gives_the_same_columns_and_the_same_form_on_both_engines(tmp_path: Path) -> None:
    folders = []
    for name in ("netns", "compose"):
        facts_or_skip(name)
        (tmp_path / name).mkdir()
        code, out, err = lab(*SMALL, "--engine", name, cwd=tmp_path / name)
        assert code == 0, out + err
        folders.append(tmp_path / name / "runs" / "epoll-10k" / "latest")
    netns, compose = folders
    assert columns(netns) == columns(compose)
    forms = [form(json.loads((folder / "verdict.json").read_text())) for folder in folders]
    assert forms[0] == forms[1]
