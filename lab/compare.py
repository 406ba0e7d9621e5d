"""`lab compare`: runs and series side by side, with intervals, whatever their engine or their scenario.

Runs of the same scenario, resolved alike, on the same engine are repeats of one subject; each cell of a series is a
subject with the repeats that the series made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import measures, store
from lab.errors import Problem, ScenarioInvalid
from lab.report.comparison import as_text, comparison_table, finding_lines, interval_note, show_times
from lab.verdict.compare import COLUMNS, Subject, cell_of, differ, findings, row


def compare(names: Sequence[str], root: Path, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Return the comparison of runs and series as plain data: `columns`, `rows`, `findings`.

    Raises ScenarioInvalid for a run that is not there or has no verdict, and for a measure that does not exist.
    """
    for column in columns:
        if measures.find(column) is None:
            raise _problem(root, f"unknown measure, got {column!r}; `lab show --measures` lists them")
    subjects: list[Subject] = []
    wanted: list[str] = list(columns)
    for name in names:
        run = store.find(name, root)
        if not (run.folder / "verdict.json").exists():
            raise _problem(run.folder, f"has no verdict, got {name!r}; a finished run or series")
        if store.is_series(run):
            series = run.read_json(store.SERIES)
            wanted += [] if columns else series["columns"]
            subjects += _cells(run, series, len(names) > 1)
        else:
            _add_run(subjects, run)
    shown = list(dict.fromkeys(wanted)) or list(COLUMNS)
    rows = [row(subject, shown) for subject in subjects]
    return {"columns": shown, "rows": rows, "findings": findings(rows, shown), "differences": _pair(rows, shown)}


def _problem(place: Path, what: str) -> ScenarioInvalid:
    return ScenarioInvalid(Problem(file=str(place), line=1, key="", what=what))


def _cells(run: store.Run, series: dict[str, Any], several: bool) -> list[Subject]:
    prefix = f"{series['scenario']} on {series['engine']}: " if several else ""
    axes = {"series": f"{series['scenario']} on {series['engine']}"} if several else {}
    return [
        Subject(
            name=prefix + cell["name"],
            axes={**axes, **cell["axes"]},
            folders=[run.folder / folder for folder in cell["runs"]],
        )
        for cell in series["cells"]
        if cell["runs"]
    ]


def _add_run(subjects: list[Subject], run: store.Run) -> None:
    """Put a run to the subject it repeats, or make it a subject of its own."""
    manifest = run.read_json("manifest.json")
    scenario = yaml.safe_load((run.folder / "scenario.yaml").read_text())
    for subject in subjects:
        if not subject.folders or subject.axes.get("engine") != manifest["engine"]:
            continue
        if yaml.safe_load((subject.folders[0] / "scenario.yaml").read_text()) == scenario:
            if run.folder not in subject.folders:
                subject.folders.append(run.folder)
            return
    axes = {"scenario": run.scenario, "engine": str(manifest["engine"])}
    axes |= {"model": str(manifest["server"]["model"])} if "server" in manifest else {}
    axes |= {"clients": str(manifest["fleet"]["connections"])} if "fleet" in manifest else {}
    name = ", ".join(axes.values())
    same = sum(subject.name == name or subject.name.startswith(f"{name} (") for subject in subjects)
    subjects.append(Subject(name=f"{name} ({same + 1})" if same else name, axes=axes, folders=[run.folder]))


def _pair(rows: list[dict[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """For two subjects: column by column, how many times the second is the first, and whether that is a difference."""
    if len(rows) != 2:
        return []
    result = []
    for column in columns:
        one, other = (cell_of(a_row, column) for a_row in rows)
        if one.median is None or other.median is None:
            continue
        times = other.median / one.median if one.median else None
        result.append({"column": column, "times": times, "differ": differ(one, other)})
    return result


def _told_apart(rows: list[dict[str, Any]]) -> list[str]:
    """Name each subject by what differs between them alone: `netns` and `compose`; by all where nothing does."""
    axes = [axis for axis in rows[0]["axes"] if len({a_row["axes"].get(axis) for a_row in rows}) > 1]
    return [", ".join(a_row["axes"].get(axis, "") for axis in axes) or a_row["name"] for a_row in rows]


def described(comparison: dict[str, Any]) -> str:
    """Return the comparison as text."""
    lines = [as_text(comparison_table(comparison["rows"], comparison["columns"])).rstrip(), ""]
    lines += [interval_note(comparison["rows"]), ""]
    first, *others = _told_apart(comparison["rows"])
    for pair in comparison["differences"]:
        times = f"{others[0]} is {show_times(pair['times'])} {first}" if pair["times"] is not None else f"{first} is 0"
        sure = {False: f"no difference (the intervals overlap; medians: {times})", True: times}
        lines.append(f"{pair['column']}: {sure.get(pair['differ'], times + '; one run each: no interval')}")
    if not comparison["differences"]:
        lines += finding_lines(comparison["findings"])
    return "\n".join(lines)
