"""The verdict of a series: every cell's own, what was expected of some cells only, and what must be true between cells.

Goes in: the series' folder (`series.json`, and each cell's run with its `verdict.json`). Comes out: the content of the
series' own `verdict.json`: the same keys as a run's, and `table`, one row a cell (`lab/verdict/compare.py`).

A cell that this machine cannot run is named in `left_out` and decides nothing; a comparison with it is `unknown`, and
`machine_lacks` says whether that is all that stays open.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import units
from lab.verdict.compare import SPOILT, Subject, findings, row


def judge_series(folder: Path, timing_s: dict[str, float]) -> dict[str, Any]:
    """Judge the series in `folder`; return the content of its `verdict.json`."""
    series = json.loads((folder / "series.json").read_text())
    columns = list(dict.fromkeys([*series["columns"], *(c["what"] for c in series["compare"])]))
    cells = [cell for cell in series["cells"] if not cell["left_out"]]
    rows = {
        cell["name"]: row(
            Subject(name=cell["name"], axes=cell["axes"], folders=[folder / run for run in cell["runs"]]), columns
        )
        for cell in cells
        if cell["runs"]
    }
    expectations = [_cell(cell, series["repeats"], folder) for cell in cells]
    expectations += _of_some_cells(cells, folder)
    expectations += [_comparison(comparison, series, rows) for comparison in series["compare"]]
    verdicts = {one["verdict"] for one in expectations}
    open_ones = [one.get("left_out", False) for one in expectations if one["verdict"] == "unknown"]
    validities = [a_row["validity"] for a_row in rows.values() if a_row["validity"]]
    for a_row in rows.values():
        a_row["runs"] = [str(Path(run).relative_to(folder)) for run in a_row["runs"]]
    return {
        "scenario": series["scenario"],
        "run": series["run"],
        "engine": series["engine"],
        "verdict": "fail" if "fail" in verdicts else "pass" if verdicts == {"pass"} else "unknown",
        "expectations": expectations,
        "left_out": {cell["name"]: cell["left_out"] for cell in series["cells"] if cell["left_out"]},
        "machine_lacks": "fail" not in verdicts and any(open_ones) and all(open_ones),
        "capture": {},
        "validity": max(validities, key=SPOILT.index, default="valid"),
        "columns": series["columns"],
        "table": list(rows.values()),
        "findings": findings(list(rows.values()), series["columns"]),
        "timing_s": timing_s,
    }


def _cell(cell: dict[str, Any], repeats: int, folder: Path) -> dict[str, Any]:
    """A cell as an expectation: every repeat of it must pass."""
    words = []
    reasons = list(cell["failed"])
    for run in cell["runs"]:
        verdict = json.loads((folder / run / "verdict.json").read_text())
        words.append(verdict["verdict"])
        reasons += [
            f"{run}: {one['what']} {one['expected']}, observed {_shown(one)}"
            for one in verdict["expectations"]
            if one["verdict"] != "pass"
        ]
        reasons += [f"{run}: {lost}" for lost in verdict["lost_evidence"]]
    if cell["failed"] or "fail" in words:
        verdict_word = "fail"
    else:
        verdict_word = "pass" if words.count("pass") >= repeats else "unknown"
    return {
        "what": f"every run of {cell['name']}",
        "at": None,
        "expected": f"{repeats} pass",
        "unit": "count",
        "because": None,
        "observed": f"{words.count('pass')} pass",
        "verdict": verdict_word,
        "evidence": "; ".join(reasons[:3]) or ", ".join(cell["runs"]) or "it was not run",
    }


def _shown(row: dict[str, Any]) -> str:
    observed = row["observed"]
    return "nothing" if observed is None else units.show_value(observed, row["unit"])


def _of_some_cells(cells: list[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """What was expected of some cells only, each with what its worst run showed: it tells the cells apart."""
    judged: dict[str, list[list[dict[str, Any]]]] = {}
    for cell in cells:
        if cell["runs"]:
            verdicts = [json.loads((folder / run / "verdict.json").read_text()) for run in cell["runs"]]
            judged[cell["name"]] = [verdict["expectations"] for verdict in verdicts]
    keys = [{_key(row) for row in runs[0]} for runs in judged.values()]
    common = set.intersection(*keys) if keys else set()
    for name, runs in judged.items():
        for first in runs[0]:
            if _key(first) not in common:
                same = [other for rows in runs for other in rows if _key(other) == _key(first)]
                worst = next((one for word in ("fail", "unknown") for one in same if one["verdict"] == word), first)
                yield {**worst, "what": f"{name}: {first['what']}", "of_cell": name}


def _key(row: dict[str, Any]) -> tuple[str, str | None]:
    """What two cells have in common, though the number may follow a cell's values: `equal: fleet.connections`."""
    return row["what"], row["because"]


def _comparison(comparison: dict[str, Any], series: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
    what = comparison["what"]
    sides = []
    for key in ("of", "over"):
        names = [cell["name"] for cell in series["cells"] if cell["name"] in comparison[f"{key}_cells"]]
        values = [value for name in names if name in rows for value in rows[name]["columns"][what]["values"]]
        missing = [name for name in names if name not in rows or not rows[name]["columns"][what]["values"]]
        sides.append((", ".join(names), values, missing))
    (of, of_values, of_missing), (over, over_values, over_missing) = sides
    result = {
        "what": f"{what}: {of} over {over}",
        "at": None,
        "unit": "ratio",
        "because": comparison["because"],
        "expected": " and ".join(
            f"{sign} {units.show_count(comparison[key])} times"
            for key, sign in (("at_least", ">="), ("at_most", "<="))
            if comparison[key] is not None
        ),
    }
    missing = [*of_missing, *over_missing]
    left_out = {cell["name"] for cell in series["cells"] if cell["left_out"]}
    if missing or not statistics.median(over_values):
        text = f"no number from {', '.join(missing)}" if missing else f"the median of {over} is 0"
        why_out = bool(missing) and left_out.issuperset(missing)
        return {**result, "observed": None, "verdict": "unknown", "evidence": text, "left_out": why_out}
    ratio = statistics.median(of_values) / statistics.median(over_values)
    holds = (comparison["at_least"] is None or ratio >= comparison["at_least"]) and (
        comparison["at_most"] is None or ratio <= comparison["at_most"]
    )
    text = f"medians of {len(of_values)} and {len(over_values)} runs"
    return {**result, "observed": ratio, "verdict": "pass" if holds else "fail", "evidence": text}
