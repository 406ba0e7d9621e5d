"""A series drives whole runs: their order, what is left out, what failed, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab import series, store
from lab.errors import LabError, MachineLacks, RunFailed
from lab.progress import Progress
from lab.scenario.load import Loaded, load
from lab.series import is_series, order, run_series

TEXT = """\
title: Three ways to wait
hosts: {server: {}, client: {}}
server: {model: epoll}
fleet:
  connections: 10
  phases: [{phase: connect}, {phase: load, messages: 5}, {phase: drain}]
matrix: {server.model: [select, poll, epoll]}
repeats: 3
compare: [{what: server.cpu, of: {server.model: poll}, over: {server.model: epoll}, at_least: 1}]
"""


class SessionOfModels:
    """Stands in for a session: leaves a manifest, or fails as its model is told to."""

    errors: ClassVar[dict[str, LabError]] = {}
    ran: ClassVar[list[str]] = []

    def __init__(self, loaded: Loaded, _engine: Any, run: store.Run, _progress: Progress) -> None:
        assert loaded.scenario.server is not None
        self.model, self.run, self.timing_s = loaded.scenario.server.model, run, {"up": 0.1}

    def execute(self, _companion: None) -> None:
        self.ran.append(f"{self.model}:{self.run.folder.name}")
        if self.model in self.errors:
            raise self.errors[self.model]
        self.run.write_json("manifest.json", {"engine": "netns"})


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Run:
    monkeypatch.setattr(series, "Session", SessionOfModels)
    monkeypatch.setattr(SessionOfModels, "errors", {})
    monkeypatch.setattr(SessionOfModels, "ran", [])
    return store.create("lab", tmp_path, series=True)


def drive(whole: store.Run, tmp_path: Path) -> dict[str, Any]:
    """Run the series; return what it wrote down."""
    file = tmp_path / "lab.yaml"
    file.write_text(TEXT)
    loaded = load(file)
    assert is_series(loaded)
    with Progress(quiet=True) as progress:
        run_series(loaded, lambda: None, whole, progress, lambda *_: {"verdict": "pass"}, ("server.cpu",))  # type: ignore[arg-type,return-value]
    return dict(whole.read_json(store.SERIES))


def test_repeats_are_interleaved_and_every_other_round_goes_backwards() -> None:
    assert order(3, 3) == [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1), (0, 2), (1, 2), (2, 2)]


def test_each_run_has_a_folder_of_its_own_and_stands_in_the_account(whole: store.Run, tmp_path: Path) -> None:
    written = drive(whole, tmp_path)
    assert [one.partition(":")[0] for one in SessionOfModels.ran[:6]] == [
        "select",
        "poll",
        "epoll",
        "epoll",
        "poll",
        "select",
    ]
    assert written["cells"][1]["runs"] == ["cells/poll-1", "cells/poll-2", "cells/poll-3"]
    assert (whole.folder / "cells/epoll-3/manifest.json").exists()
    assert (written["engine"], written["columns"]) == ("netns", ["server.cpu"])
    assert written["compare"][0]["of_cells"] == ["poll"]


def test_ids_of_runs_end_in_hexadecimal_digits_and_differ(whole: store.Run) -> None:
    ids = {store.create_below(whole, f"cells/x-{number}").id for number in range(3)}
    assert len(ids) == 3
    assert all(int(one[-6:], 16) >= 0 for one in ids)


def test_what_the_machine_lacks_is_left_out_once_and_by_name(whole: store.Run, tmp_path: Path) -> None:
    SessionOfModels.errors["poll"] = MachineLacks("no poll here")
    written = drive(whole, tmp_path)
    assert written["cells"][1]["left_out"] == "no poll here"
    assert sum(one.startswith("poll:") for one in SessionOfModels.ran) == 1
    assert len(written["cells"][2]["runs"]) == 3


def test_a_cell_that_fails_is_told_and_does_not_stop_the_others(whole: store.Run, tmp_path: Path) -> None:
    SessionOfModels.errors["select"] = RunFailed("the server died")
    written = drive(whole, tmp_path)
    assert written["cells"][0]["failed"] == [f"repeat {number}: the server died" for number in (1, 2, 3)]
    assert len(written["cells"][2]["runs"]) == 3


def test_a_series_is_found_like_a_run(whole: store.Run, tmp_path: Path) -> None:
    drive(whole, tmp_path)
    for name in ("lab", whole.id, str(whole.folder)):
        found = store.find(name, tmp_path)
        assert found.folder.resolve() == whole.folder.resolve()
        assert store.is_series(found)
    assert not store.is_series(store.find(str(whole.folder / "cells/poll-1"), tmp_path))
    assert json.loads((whole.folder / store.SERIES).read_text())["run"] == whole.id
