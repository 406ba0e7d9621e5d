"""The report of a run as one HTML file: verdict, lesson, what happened, charts, a ladder, evidence, counters, manifest.

In: a run folder. Out: HTML that needs nothing beside itself: no script, no font, no picture from elsewhere; it follows
the reader's light or dark scheme and prints well. Its frame is `templates/report.html.j2`, its looks `report.css`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from lab import units
from lab.report import packet_list, story, text
from lab.report.charts import charts
from lab.report.ladder_svg import draw_svg
from lab.report.phases import HEADINGS, phases
from lab.report.run_files import Example, RunFiles
from lab.whole_file import write_whole

REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One kernel counter of one host, over the run."""

    name: str
    growth: int


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into the run folder, whole or not at all; return its path."""
    return write_whole(run_folder / REPORT, report_html(run_folder))


def report_html(run_folder: Path) -> str:
    """Return the report of a run; what is missing from the folder is named in it."""
    run = RunFiles.read(run_folder)
    example = run.example()
    content = {
        "word": story.verdict_word(run),
        "headline": story.headline(run),
        "held": story.held(run),
        "identity": story.identity(run),
        "started": run.manifest.get("started"),
        "worth": story.worth(run),
        "lesson": str(run.manifest.get("lesson") or "").strip().split("\n\n"),
        "happened": story.happened(run),
        "phases": [row.cells() for row in phases(run)],
        "phase_headings": HEADINGS[1:],
        "captured": story.captured(run),
        "charts": [Markup(chart) for chart in charts(run)],
        "example": example,
        "ladder": _ladder(example),
        "packets": None if example is not None else _packets(run),
        "expectations": [_expectation(row) for row in run.verdict.get("expectations", [])],
        "stages": story.stages(run),
        "bars": _bars(run.verdict.get("timing_s") or {}),
        "counters": dict(_counters(run)),
        "commands": text.commands(run),
        "folder": run.shown_folder,
        "manifest": json.dumps(run.manifest, indent=2, ensure_ascii=False),
        "missing": run.missing,
    }
    return environment().get_template("report.html.j2").render(content)


def environment() -> jinja2.Environment:
    """Return the templates, with the filter `code`; names that are not given are errors."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    return environment


def code(prose: str) -> Markup:
    """Escape a text; what stands in backticks becomes code."""
    parts = prose.split("`")
    if len(parts) % 2 == 0:
        return escape(prose)  # a backtick without its partner is just a backtick
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _ladder(example: Example | None) -> Markup | None:
    return None if example is None else Markup(draw_svg(example.steps, example.orig, example.resp))


def _packets(run: RunFiles) -> dict[str, Any] | None:
    """The first packets of a run without a connection, as lines; None without any."""
    host, rows, count = run.first_packets(text.MOST_PACKETS)
    if not rows:
        return None
    drawn = "\n".join(packet_list.lines(rows, run.names, width=text.WIDTH))
    return {"host": host, "shown": len(rows), "count": count, "lines": drawn}


def _expectation(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "name": text.name(row), "observed": text.observed(row)}


def _bars(timing_s: dict[str, float]) -> list[dict[str, Any]]:
    """The stages as shares of the whole, for a bar."""
    total = sum(timing_s.values()) or 1.0
    return [
        {"name": name, "share": 100 * seconds / total, "shown": units.show_duration(seconds * 1e9)}
        for name, seconds in timing_s.items()
    ]


def _counters(run: RunFiles) -> Iterator[tuple[str, list[Growth]]]:
    """Yield each host with the kernel counters and gauges that changed over the run."""
    if run.evidence is None:
        return
    for host in run.evidence.hosts:
        readings = run.evidence.counters(host)
        if readings is None:
            continue
        before, after = readings
        grown = [Growth(name=name, growth=after[name] - before.get(name, 0)) for name in sorted(after)]
        yield host, [counter for counter in grown if counter.growth]
