"""The process that concludes runs: it goes along with a run, tells what it does, and never outlives the lab's use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.conclusion import Conclusion
from lab.errors import RunFailed
from lab.progress import Progress
from lab.store import Run
from tests.verdict.run_folder import make_run


@pytest.fixture
def progress() -> Iterator[Progress]:
    with Progress(quiet=True) as progress:
        yield progress


def test_a_collected_run_gets_tables_verdict_and_summary(tmp_path: Path, progress: Progress) -> None:
    folder = make_run(tmp_path)
    (folder / "tables" / "connections.parquet").unlink()
    topology = json.loads((folder / "topology.json").read_text())
    uncaptured = [program for program in topology["programs"] if program["role"] != "capture"]
    (folder / "topology.json").write_text(json.dumps({**topology, "programs": uncaptured}))
    with Conclusion(progress) as conclusion:
        conclusion.before_traffic()
        conclusion.collected(Run(scenario="lab", id="x", folder=folder))
        verdict, summary = conclusion.conclude(folder, {"up": 0.5}, began=time.monotonic() - 2, width=100)
    assert verdict["timing_s"]["up"] == 0.5
    assert verdict["timing_s"]["analysis"] > 0
    assert verdict["elapsed_s"] >= 2
    assert (folder / "tables" / "usage.parquet").exists()
    assert (folder / "summary.txt").read_text().split() == summary.split()


def test_a_run_that_cannot_be_concluded_is_told_and_leaves_no_process(tmp_path: Path, progress: Progress) -> None:
    with Conclusion(progress) as conclusion:
        pid = conclusion._child.pid
        conclusion.collected(Run(scenario="lab", id="x", folder=tmp_path / "nowhere"))
        with pytest.raises(RunFailed, match="ended with exit code 1"):
            conclusion.conclude(tmp_path / "nowhere", {}, began=time.monotonic())
    assert not os.path.exists(f"/proc/{pid}")
