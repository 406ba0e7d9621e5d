"""The run directory: where everything one run produced stands, and its manifest.

    runs/<scenario>/<UTC time>-<id>/     one run; `runs/<scenario>/latest` points to the newest
        scenario.yaml                    as resolved, with the overrides
        topology.json                    what was built
        compose.yaml                     as run (engine compose): usable by hand
        manifest.json                    versions, limits, identities: what one needs to repeat the run
        captures/<host>.pcapng
        hosts/<host>/                    what the host's programs left: results, logs, events, counters
        tables/*.parquet                 what the analysis made of them
        verdict.json  summary.txt  report.html

A series (a scenario with a matrix or repeats) has a folder like a run's: `scenario.yaml`, `series.json`,
`verdict.json`, `summary.txt`, `report.html`, and a whole run in each `cells/<cell>-<repeat>/`.

Files are written whole or not at all (`whole_file.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import Problem, ScenarioInvalid
from lab.whole_file import write_json_whole, write_whole

RUNS = "runs"
LATEST = "latest"
SERIES = "series.json"
"""What tells a series' folder from a run's."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's folder."""

    scenario: str
    id: str
    """UTC time and six random hex digits: `20261123T150102Z-3fa9c1`; sorts by time."""
    folder: Path

    def write_json(self, name: str, data: Any) -> Path:
        """Store `data` as JSON under `name` in the run folder."""
        return write_json_whole(self._place(name), data)

    def write_text(self, name: str, text: str) -> Path:
        """Store `text` under `name` in the run folder."""
        return write_whole(self._place(name), text)

    def _place(self, name: str) -> Path:
        """Return where `name` stands, in a folder that is there."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def read_json(self, name: str) -> Any:
        """Return the JSON stored under `name`. Raises OSError when it is not there."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def is_series(run: Run) -> bool:
    """Whether a folder is a series' rather than a run's."""
    return (run.folder / SERIES).is_file()


def create(scenario: str, root: Path, *, series: bool = False) -> Run:
    """Make a new run's (or series') folder below `root`/runs, and let `latest` point to it."""
    run_id = _new_id()
    folder = root / RUNS / scenario / run_id
    if series:
        folder.mkdir(parents=True)
    else:
        _make_folder(folder)
    link = folder.parent / f".{LATEST}-{run_id}"
    link.symlink_to(run_id)
    link.replace(folder.parent / LATEST)
    return Run(scenario=scenario, id=run_id, folder=folder)


def create_below(series: Run, place: str) -> Run:
    """Make the folder of a run that belongs to a series, at `place` in the series' own."""
    return Run(scenario=series.scenario, id=_new_id(), folder=_make_folder(series.folder / place))


def _new_id() -> str:
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"


def _make_folder(folder: Path) -> Path:
    for part in ("captures", "hosts", "tables"):
        (folder / part).mkdir(parents=True)
    return folder


def every(root: Path) -> list[Run]:
    """Return all runs below `root`/runs, oldest first."""
    runs = [
        Run(scenario=folder.parent.name, id=folder.name, folder=folder)
        for folder in (root / RUNS).glob("*/*")
        if folder.is_dir() and not folder.is_symlink()
    ]
    return sorted(runs, key=lambda run: run.id)


def find(text: str, root: Path) -> Run:
    """Find a run by folder, by id (or a part of it that is enough), or by scenario name (its latest).

    Raises ScenarioInvalid naming what there is.
    """
    as_path = Path(text)
    if (as_path / "manifest.json").is_file() or (as_path / SERIES).is_file():
        folder = as_path.resolve()
        return Run(scenario=folder.parent.name, id=folder.name, folder=folder)
    latest = root / RUNS / text / LATEST
    if latest.is_dir():
        folder = latest.parent / os.readlink(latest)
        return Run(scenario=text, id=folder.name, folder=folder)
    runs = every(root)
    matches = [run for run in runs if text and text in run.id]
    if len(matches) == 1:
        return matches[0]
    if matches:
        what = f"{len(matches)} runs match, got {text!r}: " + ", ".join(run.id for run in matches[:5])
    else:
        newest = ", ".join(f"{run.scenario} ({run.id})" for run in runs[-3:]) or "none yet"
        what = f"no such run, got {text!r}; a scenario's name, a run's id or its folder; the newest: {newest}"
    raise ScenarioInvalid(Problem(file=str(root / RUNS), line=1, key="", what=what, hint="`lab runs` lists them"))
