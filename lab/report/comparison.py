"""Comparisons for the terminal: the table of a series or of `lab compare`, and what it shows in sentences.

In: rows as `lab.verdict.compare` makes them. Out: something rich can print, or plain text for `summary.txt`.
"""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab import measures
from lab.report.text import STYLES, WIDTH
from lab.units import show_value
from lab.verdict.compare import Interval, cell_of

HEADINGS = {
    "server.load_rate": "requests",
    "server.load_cpu_per_message": "CPU/request",
    "server.syscalls_per_message": "syscalls/request",
    "server.switches_per_message": "switches/request",
    "server.packets_per_message": "packets/request",
    "server.memory_per_connection": "memory/connection",
    "server.idle_cpu": "idle cores",
    "server.load_cpu": "CPU in load",
    "server.load_cores": "cores",
    "server.load_runnable": "runnable",
    "server.start_cpu": "CPU/start",
    "server.threads_peak": "threads",
    "server.processes_peak": "processes",
    "server.queue_peak": "longest queue",
    "latency.service.p50": "p50",
    "latency.service.p99": "p99",
    "latency.service.max": "slowest",
    "answers.all": "answers",
    "answers.distinct": "different answers",
    "answers.repeated": "repeated answers",
    "zero_windows": "zero windows",
}
"""What stands above a column, where the measure's name is long."""
EVERY_RUN = "every run of "
"""How the expectation that a cell passes begins."""
WORTH = {"valid": "valid", "host-noisy": "noisy", "kernel-limited": "kernel", "generator-limited": "generator"}
"""A validity in a narrow column: what limited the numbers."""
TABLE_WIDTH = 120
"""Columns that a table of six measures needs; folded numbers cannot be read."""
FINDINGS_NAMED = 6
"""So many ties are named; more are counted."""


def series_summary(folder: Path, *, width: int = WIDTH) -> RenderableType:
    """Return the summary of a series: verdict, table, findings, what was left out, what did not hold."""
    verdict = json.loads((folder / "verdict.json").read_text())
    series = json.loads((folder / "series.json").read_text())
    word = verdict["verdict"]
    parts: list[RenderableType] = [
        Text.assemble((word.upper(), STYLES.get(word, "")), "  ", (f"{series['scenario']}: {series['title']}", "bold")),
        _wrapped(told(verdict, series), width),
        Text(""),
        comparison_table(verdict["table"], verdict["columns"]),
        _wrapped(interval_note(verdict["table"]), width),
        Text(""),
        *(_wrapped(line, width) for line in finding_lines(verdict["findings"])),
    ]
    if verdict["left_out"]:
        parts += [Text(""), Text("Left out, because this machine lacks what they need", style="bold")]
        parts += [_wrapped(f"{name}: {why}", width) for name, why in verdict["left_out"].items()]
    parts += [Text(""), *_expectations(verdict["expectations"], width), Text("")]
    return Group(*parts, *_further(folder, verdict))


def told(verdict: dict[str, Any], series: dict[str, Any]) -> str:
    """Say what was run, what held, and what the numbers are worth."""
    held = sum(one["verdict"] == "pass" for one in verdict["expectations"])
    runs = sum(a_row["repeats"] for a_row in verdict["table"])
    each = f"{series['repeats']} repeats" if series["repeats"] > 1 else "one run"
    return (
        f"{held} of {len(verdict['expectations'])} expectations held. {runs} runs of {len(verdict['table'])} cells, "
        f"{each} each, interleaved; run {verdict['run']}, engine {verdict['engine']}. "
        f"Worth of the numbers, at the worst: {verdict['validity']}."
    )


def series_text(folder: Path) -> str:
    """Return the summary of a series as plain text, for `summary.txt`."""
    return as_text(series_summary(folder))


def as_text(renderable: RenderableType) -> str:
    """Print something into plain text, tables in their whole width."""
    out = io.StringIO()
    Console(file=out, width=TABLE_WIDTH, color_system=None, legacy_windows=False, force_terminal=False).print(
        renderable
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def comparison_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> RenderableType:
    """Return the table: a row a subject, a column a measure, each the median and the farther end of its interval."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    axes = axes_of(rows)
    for axis in axes:
        table.add_column(axis.rpartition(".")[2] or "run", header_style="bold", no_wrap=True)
    for column in columns:
        heading = HEADINGS.get(column, column).replace("/", "\nper ")
        table.add_column(heading, justify="right", header_style="bold", no_wrap=True)
    table.add_column("worth", header_style="bold", no_wrap=True)
    for a_row in rows:
        names = [a_row["axes"].get(axis, "") if axis else a_row["name"] for axis in axes]
        cells = [show_interval(cell_of(a_row, column), column) for column in columns]
        table.add_row(*names, *cells, worth_of(a_row))
    return table


def axes_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what tells the rows apart, a column each; one without a name where they are plain runs."""
    return list(dict.fromkeys(axis for a_row in rows for axis in a_row["axes"])) or [""]


def worth_of(a_row: dict[str, Any]) -> str:
    """Say in a word what a row's numbers are worth: what limited them, or that its runs did not pass."""
    return WORTH.get(a_row["validity"], "") if a_row["verdict"] == "pass" else str(a_row["verdict"])


def show_interval(one: Interval, column: str) -> str:
    """`8,120/s ±6%`: the median, and how far the farther end of the interval is from it."""
    if one.median is None:
        return "-"
    measure = measures.find(column)
    text = show_value(float(f"{one.median:.3g}"), measure.unit if measure is not None else "count")
    if one.low is None or one.high is None or not one.median:
        return text
    farther = max(one.high - one.median, one.median - one.low) / abs(one.median)
    return f"{text} ±{farther:.0%}"


def interval_note(rows: Sequence[dict[str, Any]]) -> str:
    """Say what stands behind the ± of a table, and how sure it is."""
    confidences = {
        (len(one.values), one.confidence)
        for a_row in rows
        for column in a_row["columns"]
        if (one := cell_of(a_row, column)).confidence is not None
    }
    if not confidences:
        return "One run each: no interval, so no difference can be told from chance."
    told = ", ".join(f"{n} repeats: {confidence:.0%}" for n, confidence in sorted(confidences))
    text = "Median, and ± the farther end of the interval by order statistics, which assumes no distribution"
    return f"{text}; it holds the true median with a probability of ({told})."


def show_times(times: float) -> str:
    """`16.8 times`, `2,450 times`: three digits."""
    return f"{float(f'{times:.3g}'):,.0f} times" if times >= 1000 else f"{times:.3g} times"


def finding_lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return one sentence a column: who is best, who is no different, how far the last is; or who has least and who
    most, where neither is better."""
    without_any = all(one["differ"] is None for one in found)  # the note under the table says so once
    for one in found:
        heading = HEADINGS.get(one["column"], one["column"])
        ties = one["no_difference"]
        first, last = ("best", "last") if measures.better(one["column"]) else ("least", "most")
        if one["differ"] is None and one["times"] == 1:
            yield f"{heading}: the same in all."
            continue
        if one["differ"] is False:
            yield f"{heading}: no difference ({one['best']}, {one['last']} and all between overlap)."
            continue
        named = f"; no difference: {', '.join(ties[:FINDINGS_NAMED])}" if ties else ""
        named += f" and {len(ties) - FINDINGS_NAMED} more" if len(ties) > FINDINGS_NAMED else ""
        times = f", {show_times(one['times'])}" if one["times"] is not None else ""
        sure = "" if one["differ"] or without_any else " (no interval: one run of it)"
        yield f"{heading}: {first} {one['best']}{named}; {last} {one['last']}{times}{sure}."


def _expectations(rows: Sequence[dict[str, Any]], width: int) -> Iterator[RenderableType]:
    """Lines for what tells cells apart and for what does not hold; cells that passed are counted."""
    cells = [one for one in rows if one["what"].startswith(EVERY_RUN)]
    yield Text("Expectations", style="bold")
    for one in rows:
        if one in cells and one["verdict"] == "pass":
            continue
        because = f" ({one['because']})" if one["because"] else ""
        what = one["what"] if one.get("of_cell") else f"{one['what']}:"
        line = f"{one['verdict'].upper()}  {what} {one['expected']}, observed {_rounded(one)}{because}"
        yield _wrapped(line, width)
        if one["verdict"] != "pass":
            yield _wrapped(f"evidence: {one['evidence']}", width)
    passed = sum(one["verdict"] == "pass" for one in cells)
    yield _wrapped(f"{passed} cells passed in every run of theirs.", width)


def _rounded(row: dict[str, Any]) -> str:
    value = row["observed"]
    if isinstance(value, int | float):
        return show_value(float(f"{value:.3g}") if row["unit"] != "count" else value, row["unit"])
    return value or "-"


def commands(folder: Path, verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what to run next, each command with what it shows."""
    lines = [(f"lab compare {verdict['run']}", "this table, by other measures with --column MEASURE")]
    runs = [run for a_row in verdict["table"] for run in a_row["runs"]]
    return lines + ([(f"lab inspect {folder}/{runs[0]}", "one of the runs, like any other")] if runs else [])


def _further(folder: Path, verdict: dict[str, Any]) -> Iterator[Text]:
    """What to look at next; a command is never folded, so that it can be copied."""
    yield Text("Look further", style="bold")
    for line in (f"{folder}/", *(f"{command}    # {meaning}" for command, meaning in commands(folder, verdict))):
        yield Text(f"  {line}", no_wrap=True, overflow="ignore")


def _wrapped(sentence: str, width: int) -> Text:
    return Text(
        textwrap.fill(sentence, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False),
        no_wrap=True,
        overflow="ignore",
    )
