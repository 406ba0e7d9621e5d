"""Scripted lessons end to end on the netns engine: real kernels, real captures, a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab import store
from lab.engines.netns import NetnsEngine
from lab.errors import MachineLacks
from lab.progress import Progress
from lab.results import make_tables
from lab.scenario.load import Loaded, load
from lab.session import Session
from lab.verdict import judge

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"


def run(loaded: Loaded, root: Path) -> dict[str, Any]:
    """Run a scenario and judge it; return the verdict."""
    engine = NetnsEngine()
    try:
        engine.facts()
    except MachineLacks as lack:
        pytest.skip(f"{lack}; hint: {lack.hint}")
    this = store.create(loaded.name, root)
    session = Session(loaded, engine, this, Progress(quiet=True))
    session.execute()
    make_tables(this.folder, lambda _line: None)
    return judge(this.folder, session.timing_s)


@pytest.mark.parametrize(
    "name",
    [
        "simultaneous-close",
        "broadcast-storm",
        pytest.param("timeout-retransmit", marks=pytest.mark.live),  # the daily tests are to end within two minutes
        pytest.param("ip-fragments", marks=pytest.mark.live),
    ],
)
def test_a_lesson_passes_with_a_link_cut_with_segments_made_by_hand_a_relay_and_switches(
    tmp_path: Path, name: str
) -> None:
    verdict = run(load(SCENARIOS / f"{name}.yaml"), tmp_path)
    assert [row for row in verdict["expectations"] if row["verdict"] != "pass"] == []
    assert verdict["verdict"] == "pass"


def test_a_script_that_goes_otherwise_ends_early_and_fails_with_the_step(tmp_path: Path) -> None:
    file = tmp_path / "otherwise.yaml"
    file.write_text(
        "title: Otherwise\nhosts: {server: {}, client: {}}\n"
        "script:\n"
        "  - {at: client, do: connect, to: server, port: 9000, as: c}\n"
        "  - {at: client, do: look, as: never}\n"
        "  - {at: server, do: look, as: neither}\n"
        "capture: [{host: client, filter: tcp}]\n"
        "expect: [{what: handshake.refused, equal: 1}, {what: state.never.ESTABLISHED, equal: 0}]\n"
    )
    verdict = run(load(file), tmp_path)
    script, refused, state = verdict["expectations"]
    assert (script["what"], script["verdict"], script["observed"]) == ("script.unexpected", "fail", 3)
    assert "step 1, connect at client: ECONNREFUSED" in script["evidence"]
    assert refused["verdict"] == "pass"
    assert state["verdict"] == "unknown"
    assert verdict["verdict"] == "fail"
