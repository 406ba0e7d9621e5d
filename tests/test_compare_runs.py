"""`lab compare`: which runs are repeats of each other, and what is said of two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import store
from lab.compare import compare, described
from lab.errors import ScenarioInvalid
from lab.verdict import judge
from tests.verdict.run_folder import make_run


def make(root: Path, cpu_ns: int, *, engine: str = "netns", connections: int = 10) -> str:
    """Leave a judged run whose server used so much CPU time; return its id."""
    run = store.create("made", root)
    for part in ("captures", "hosts", "tables"):
        (run.folder / part).rmdir()
    make_run(run.folder)
    manifest = {**run.read_json("manifest.json"), "engine": engine, "fleet": {"connections": connections}}
    run.write_json("manifest.json", {**manifest, "server": {"model": "epoll", "port": 9000}})
    server = run.read_json("hosts/server/server.json")
    server["usage"] = {"cpu_user_ns": cpu_ns, "cpu_system_ns": 0}
    run.write_text("hosts/server/server.json", json.dumps(server))
    run.write_text("scenario.yaml", f"fleet: {{connections: {connections}}}\n")
    run.write_json("verdict.json", judge(run.folder, {}))
    return run.id


def test_equal_runs_are_repeats_and_engines_are_told_apart(tmp_path: Path) -> None:
    names = [make(tmp_path, cpu, engine=engine) for engine in ("netns", "compose") for cpu in (10, 11, 12)]
    found = compare(names, tmp_path, ["server.cpu"])
    assert [(row["axes"]["engine"], row["repeats"]) for row in found["rows"]] == [("netns", 3), ("compose", 3)]
    assert found["differences"] == [{"column": "server.cpu", "times": 1.0, "differ": False}]
    assert "server.cpu: no difference (the intervals overlap; medians: compose is 1 times netns)" in described(found)


def test_intervals_that_do_not_overlap_are_a_difference(tmp_path: Path) -> None:
    names = [make(tmp_path, cpu, connections=count) for count, cpus in ((10, (8, 10)), (20, (40, 60))) for cpu in cpus]
    text = described(compare(names, tmp_path, ["server.cpu"]))
    assert "server.cpu: 20 is 5.56 times 10" in text
    assert "no difference" not in text


def test_the_same_run_twice_is_one_repeat(tmp_path: Path) -> None:
    name = make(tmp_path, 10)
    assert [row["repeats"] for row in compare([name, name], tmp_path)["rows"]] == [1]


def test_runs_without_a_verdict_and_unknown_measures_are_refused(tmp_path: Path) -> None:
    name = make(tmp_path, 10)
    with pytest.raises(ScenarioInvalid, match="unknown measure, got 'speed'"):
        compare([name], tmp_path, ["speed"])
    (store.find(name, tmp_path).folder / "verdict.json").unlink()
    with pytest.raises(ScenarioInvalid, match="has no verdict"):
        compare([name], tmp_path)
