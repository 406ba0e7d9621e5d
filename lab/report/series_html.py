"""The report of a series as one HTML file: verdict, lesson, charts, the table of all cells, what differs, each run.

In: a series' folder. Out: HTML that needs nothing beside itself, in the frame and the looks of a run's report
(`html.py`); every cell links to the reports of its runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lab.report import comparison
from lab.report.html import REPORT, environment
from lab.report.series_charts import series_charts
from lab.report.text import observed
from lab.verdict.compare import cell_of
from lab.whole_file import write_whole


def write_series_report(folder: Path) -> Path:
    """Write `report.html` into the series' folder, whole or not at all; return its path."""
    return write_whole(folder / REPORT, series_html(folder))


def series_html(folder: Path) -> str:
    """Return the report of a series."""
    verdict = json.loads((folder / "verdict.json").read_text())
    series = json.loads((folder / "series.json").read_text())
    content = {
        "word": verdict["verdict"],
        "headline": f"{series['scenario']}: {series['title']}",
        "told": comparison.told(verdict, series),
        "lesson": str(series.get("lesson") or "").strip().split("\n\n"),
        "charts": [Markup(drawn) for drawn in series_charts(verdict)],
        "axes": comparison.axes_of(verdict["table"]),
        "headings": [comparison.HEADINGS.get(column, column) for column in verdict["columns"]],
        "rows": list(_rows(verdict)),
        "note": comparison.interval_note(verdict["table"]),
        "findings": list(comparison.finding_lines(verdict["findings"])),
        "left_out": verdict["left_out"],
        "expectations": [{**row, "observed": observed(row)} for row in verdict["expectations"]],
        "commands": comparison.commands(folder, verdict),
    }
    return environment().get_template("series.html.j2").render(content)


def _rows(verdict: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the table's rows as it shows them: names, cells, what the numbers are worth, links to the runs."""
    axes = comparison.axes_of(verdict["table"])
    for row in verdict["table"]:
        yield {
            "names": [row["axes"].get(axis, "") if axis else row["name"] for axis in axes],
            "cells": [comparison.show_interval(cell_of(row, column), column) for column in verdict["columns"]],
            "worth": comparison.worth_of(row),
            "runs": [{"number": number, "report": f"{run}/{REPORT}"} for number, run in enumerate(row["runs"], 1)],
        }
