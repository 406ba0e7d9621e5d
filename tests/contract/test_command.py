"""The `lab` command as its user meets it, on every engine: exit codes, files, Ctrl-C, crashes, runs side by side.

A run takes seconds: tests that only look at one share it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from composes import ENGINES, chosen
from engine_lab import facts_or_skip
from engine_topologies import engine_of
from typed_command import Typed

from lab.engines.machine_code import PROCESSORS, processor

PROJECT = Path(__file__).parents[2]
SMALL = ["run", "epoll-10k"]
for value in ("hosts.client.count=2", "fleet.connections=200", "fleet.phases[1].duration=200ms"):
    SMALL += ["--set", value]
BOUND_S = 300.0


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param) as name:
        facts_or_skip(name)
        yield name


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


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, what it said, and the runs below its folder."""

    code: int
    out: str
    err: str
    cwd: Path


def ended(process: subprocess.Popen[str], cwd: Path) -> Ended:
    """Wait for the end of a command."""
    out, err = process.communicate(timeout=BOUND_S)
    return Ended(process.returncode, out, err, cwd)


def lab(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Run the command to its end; return exit code, standard output, standard error."""
    done = ended(start(*arguments, cwd=cwd, **environment), cwd)
    return done.code, done.out, done.err


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


def leftovers(engine: str, cwd: Path) -> list[str]:
    """Name what is left on this machine of the runs below `cwd`, but for labs that live on."""
    runs = [folder.name for folder in cwd.glob("runs/*/*")]
    return [left.name for left in engine_of(engine).leftovers() if left.run in runs and not left.alive]


@pytest.fixture(scope="module")
def two_runs(engine: str, tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """Two runs at the same time: one prints data, the other its summary."""
    folders = [tmp_path_factory.mktemp(name) for name in ("data", "summary")]
    options: list[list[str]] = [["--json"], []]
    runs = [start(*SMALL, "--engine", engine, *more, cwd=cwd) for more, cwd in zip(options, folders, strict=True)]
    return [ended(run, cwd) for run, cwd in zip(runs, folders, strict=True)]


def test_two_runs_at_the_same_time_both_pass(engine: str, two_runs: list[Ended]) -> None:
    assert [run.code for run in two_runs] == [0, 0], two_runs
    assert [leftovers(engine, run.cwd) for run in two_runs] == [[], []]


def test_a_run_leaves_its_evidence(engine: str, two_runs: list[Ended]) -> None:
    run = two_runs[1]
    folder = run.cwd / "runs" / "epoll-10k" / "latest"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["engine"]) == ("pass", engine)
    assert {row["what"]: row["observed"] for row in verdict["expectations"]}["handshake.complete"] == 200
    assert verdict["capture"]["server"]["dropped"] == 0
    for name in ("summary.txt", "scenario.yaml", "topology.json", "manifest.json", "tables/connections.parquet"):
        assert (folder / name).stat().st_size > 0, name
    assert "epoll-10k" in run.out
    if processor() in PROCESSORS:  # hosts have been given machine code, and took it
        told = [
            json.loads((folder / "hosts" / host).read_text()) for host in ("client-1/fleet.json", "server/capture.json")
        ]
        assert (told[0]["hot_loop"], told[1]["interfaces"]["eth0"]["streamed"]) == ("machine code", True)
    if shutil.which("tshark"):
        counted = subprocess.run(
            ["tshark", "-r", str(folder / "captures" / "server.pcapng"), "-T", "fields", "-e", "frame.number"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(counted.stdout.splitlines()) == verdict["capture"]["server"]["written"]


def test_nearly_all_of_the_time_is_in_a_stage(two_runs: list[Ended]) -> None:
    verdict = json.loads(two_runs[0].out)
    told = verdict["timing_s"]
    assert next(iter(told)) == "start", "loading, choosing the engine, and building what it lacks"
    # The stages follow one another, but for tables, which are made beside the removal of the hosts.
    assert sum(told.values()) >= 0.9 * verdict["elapsed_s"], told


def test_data_is_on_standard_output_alone(two_runs: list[Ended]) -> None:
    assert json.loads(two_runs[0].out)["verdict"] == "pass"


@pytest.fixture(scope="module")
def failing_run(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run with an expectation that does not hold; netns is not asked for, but found, since no Docker answers."""
    cwd = tmp_path_factory.mktemp("failing")
    chosen = [] if engine == "netns" else ["--engine", engine]
    environment = {"DOCKER_HOST": f"unix://{cwd}/no.sock"} if engine == "netns" else {}
    process = start("run", "handshake", *chosen, "--set", "expect[0].equal=2", cwd=cwd, **environment)
    return ended(process, cwd)


def test_an_expectation_that_does_not_hold_exits_1(failing_run: Ended) -> None:
    assert failing_run.code == 1, failing_run
    assert "FAIL  handshake" in failing_run.out


@pytest.mark.parametrize("engine", ["netns"], indirect=True)
def test_without_docker_auto_chooses_netns_and_says_why(failing_run: Ended) -> None:
    assert "engine netns" in failing_run.err
    assert "not compose:" in failing_run.err
    verdict = json.loads((failing_run.cwd / "runs" / "handshake" / "latest" / "verdict.json").read_text())
    assert verdict["engine"] == "netns"


SOMETIMES = pytest.mark.live
"""Stages that the daily tests leave to the live ones, which have them all on every engine."""


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("hosts", marks=SOMETIMES),
        pytest.param("starting", marks=SOMETIMES),
        "connect",
        pytest.param("draining", marks=SOMETIMES),
    ],
)
def test_an_interrupted_run_leaves_nothing_and_exits_130(engine: str, stage: str, tmp_path: Path) -> None:
    process = start(*SMALL, "--engine", engine, cwd=tmp_path)
    await_stage(process, stage)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=BOUND_S)
    assert process.returncode == 130, out + err
    assert leftovers(engine, tmp_path) == []


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("hosts", marks=SOMETIMES),
        "starting",
        pytest.param("connect", marks=SOMETIMES),
        pytest.param("collecting", marks=SOMETIMES),
    ],
)
def test_what_a_killed_run_left_clean_removes(engine: str, stage: str, tmp_path: Path) -> None:
    process = start(*SMALL, "--engine", engine, cwd=tmp_path)
    await_stage(process, stage)
    process.kill()
    process.communicate(timeout=BOUND_S)
    code, out, err = lab("clean", cwd=tmp_path)
    assert code == 0, out + err
    await_none(lambda: leftovers(engine, tmp_path), within_s=30.0)


def test_a_lab_that_is_up_can_be_entered_and_ends_with_its_captures(engine: str, tmp_path: Path, typed: Typed) -> None:
    code, out, err = lab("up", "epoll-10k", "--engine", engine, cwd=tmp_path)
    assert code == 0, out + err
    try:
        ask = "import socket; s = socket.create_connection(('server', 9000)); s.sendall(b'hello'); print(s.recv(9))"
        code, out, err = lab("exec", "client-1", "--", "python3", "-c", f"{ask}; exit(7)", cwd=tmp_path)
        assert (code, out.strip()) == (7, "b'HELLO'"), err
        code, out, err = typed("clean", "--dry-run")
        assert code == 0, err
        (up,) = tmp_path.glob("runs/*/2*")
        assert f"of run {up.name}" not in out, "a lab left on purpose is not left behind"
    finally:
        code, out, err = lab("down", cwd=tmp_path)
    assert code == 0, out + err
    assert (tmp_path / "runs" / "epoll-10k" / "latest" / "captures" / "server.pcapng").stat().st_size > 500
    assert leftovers(engine, tmp_path) == []


def test_a_wrong_value_exits_2_and_names_file_line_and_key(typed: Typed) -> None:
    code, out, err = typed("run", "epoll-10k", "--set", "fleet.connections=many")
    assert (code, out) == (2, "")
    assert "scenarios/epoll-10k.yaml:" in err
    assert "fleet.connections: not a count, got 'many'" in err
    assert not (typed.cwd / "runs").exists()


def test_no_docker_engine_exits_3_with_the_remedy(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{typed.cwd}/no.sock")
    code, _, err = typed(*SMALL, "--engine", "compose")
    assert code == 3
    assert "hint:" in err


@pytest.mark.parametrize(
    "arguments", [["run", "epol-10k"], ["run"], ["run", "epoll-10k", "--engine", "magic"], ["fly"]], ids=" ".join
)
def test_wrong_usage_exits_2(arguments: list[str], typed: Typed) -> None:
    code, _, err = typed(*arguments)
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
