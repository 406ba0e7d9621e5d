"""A series: one scenario in many cells, several times each, one run after the other on one engine.

Each cell's run is a whole run of its own, driven by `Session` and judged like any, in
`runs/<scenario>/<id>/cells/<cell>-<repeat>/`. Repeats are interleaved, and every other round goes backwards (A B C,
C B A, ...): a machine that grows slower during a series does so to all cells alike.

A cell that this machine cannot run (a library or a kernel feature is missing: exit code 3) is left out, once and by
name; one that fails is told and does not stop the others. What was done stands in `series.json`; what it shows in the
series' own `verdict.json`, `summary.txt` and `report.html`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import store
from lab.engines import Engine
from lab.errors import LabError, MachineLacks
from lab.progress import Progress
from lab.scenario.load import Loaded, load_cell
from lab.scenario.matrix import Cell, cells, chosen
from lab.session import Companion, Session

Conclude = Callable[[store.Run, Session], dict[str, Any]]
"""Judges one finished run of a session; returns its verdict."""


@dataclass(kw_only=True)
class _Record:
    """What became of one cell."""

    name: str
    axes: dict[str, str]
    runs: list[str] = field(default_factory=list)
    """Folders of its finished runs, relative to the series' folder."""
    failed: list[str] = field(default_factory=list)
    """Why runs of it ended without a verdict."""
    left_out: str | None = None
    """Why it cannot run here."""


def is_series(loaded: Loaded) -> bool:
    """Whether a scenario is run more than once."""
    return bool(loaded.scenario.matrix) or loaded.scenario.repeats > 1


def order(count: int, repeats: int) -> list[tuple[int, int]]:
    """Return (cell, repeat) in the order of running: 0 1 2, 2 1 0, 0 1 2, ..."""
    rounds = [list(range(count)) if repeat % 2 == 0 else list(reversed(range(count))) for repeat in range(repeats)]
    return [(cell, repeat) for repeat, cells_of_round in enumerate(rounds) for cell in cells_of_round]


def run_series(
    loaded: Loaded,
    engine: Callable[[], Engine],
    whole: store.Run,
    progress: Progress,
    conclude: Conclude,
    columns: tuple[str, ...],
    companion: Companion | None = None,
) -> dict[str, float]:
    """Run every cell of a series; leave `series.json` and the cells' runs in its folder, return what took how long.

    `engine` gives a new engine for each run; `companion` goes along with each. KeyboardInterrupt passes through after
    the run in progress was removed.
    """
    started = time.monotonic()
    every = cells(loaded.data)
    records = [_Record(name=cell.name, axes=cell.axes) for cell in every]
    whole.write_text("scenario.yaml", loaded.to_yaml())
    todo = order(len(every), loaded.scenario.repeats)
    for number, (index, repeat) in enumerate(todo):
        if records[index].left_out is None:
            progress.prefix = f"[{number + 1} of {len(todo)}: {every[index].name}, repeat {repeat + 1}] "
            cell, record = every[index], records[index]
            _run_cell(loaded, cell, repeat, record, engine(), whole, progress, conclude, companion)
            _write(whole, loaded, every, records, columns)
    progress.prefix = ""
    return {"cells": round(time.monotonic() - started, 3)}


def _run_cell(
    loaded: Loaded,
    cell: Cell,
    repeat: int,
    record: _Record,
    engine: Engine,
    whole: store.Run,
    progress: Progress,
    conclude: Conclude,
    companion: Companion | None,
) -> None:
    run = store.create_below(whole, f"cells/{cell.name}-{repeat + 1}")
    session = Session(load_cell(loaded, cell), engine, run, progress)
    try:
        session.execute(companion)
        progress.stage("analysis")
        verdict = conclude(run, session)
    except LabError as error:
        if error.exit_code == MachineLacks.exit_code:
            record.left_out = " ".join(str(error).split())
            progress.say(f"left out: {error}")
        else:
            record.failed.append(f"repeat {repeat + 1}: {' '.join(str(error).split())}")
            progress.say(f"failed: {error}")
        return
    record.runs.append(str(run.folder.relative_to(whole.folder)))
    if verdict["verdict"] != "pass":
        progress.say(f"{verdict['verdict']}: see {run.folder}/summary.txt")


def _write(
    whole: store.Run, loaded: Loaded, every: list[Cell], records: list[_Record], columns: tuple[str, ...]
) -> None:
    scenario = loaded.scenario
    first = next((whole.folder / run for record in records for run in record.runs), None)
    whole.write_json(
        "series.json",
        {
            "scenario": loaded.name,
            "title": scenario.title,
            "lesson": scenario.lesson,
            "run": whole.id,
            "engine": _engine_of(first),
            "repeats": scenario.repeats,
            "columns": scenario.columns or list(columns),
            "cells": [asdict(record) for record in records],
            "compare": [
                {
                    **comparison.model_dump(),
                    "of_cells": [cell.name for cell in chosen(every, comparison.of)],
                    "over_cells": [cell.name for cell in chosen(every, comparison.over)],
                }
                for comparison in scenario.compare
            ],
        },
    )


def _engine_of(folder: Path | None) -> str | None:
    return None if folder is None else str(json.loads((folder / "manifest.json").read_text())["engine"])
