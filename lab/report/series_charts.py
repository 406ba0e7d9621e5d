"""The charts of a series: every cell in every measure; and where an axis is a number, how each measure grows with it.

In: a series' verdict (`table`, `columns`). Out: SVG strings. A number of connections, a size or a rate makes a line
for each value of the other axes; names alone (models) make a dot plot, the best of the first measure on top.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from lab import measures, units
from lab.report.chart import Axis, Line, chart, logarithmic
from lab.report.comparison import HEADINGS
from lab.report.dot_plot import Dot, Panel, dot_plot
from lab.verdict.compare import Interval, cell_of

HUES = ("blue", "orange", "green", "violet", "red", "grey")
"""So many lines can be told apart in one chart."""
Rows = Sequence[dict[str, Any]]


def series_charts(verdict: dict[str, Any]) -> list[str]:
    """Return the charts of a series that has at least two cells with numbers."""
    rows, columns = verdict["table"], verdict["columns"]
    if len(rows) < 2:
        return []
    number = _number_axis(rows)
    growth = list(_growth(rows, columns, number)) if number is not None else []
    return growth or [_dots(rows, columns)]


def _dots(rows: Rows, columns: Sequence[str]) -> str:
    first = columns[0]
    told = [(cell_of(row, first).median, row) for row in rows]
    there = [(median, row) for median, row in told if median is not None]
    there.sort(key=lambda one: one[0], reverse=measures.better(first) == "more")
    ordered = [row for _, row in there] + [row for median, row in told if median is None]
    panels = [
        Panel(
            heading=HEADINGS.get(column, column),
            note=f"{direction} is better" if (direction := measures.better(column)) else "",
            show=functools.partial(units.show_value, unit=_unit(column)),
            dots=[_dot(cell_of(row, column)) for row in ordered],
        )
        for column in columns
    ]
    names = [" ".join(row["axes"].values()) or row["name"] for row in ordered]
    best = f"best in {HEADINGS.get(first, first)}: {names[0]}; last: {names[len(there) - 1]}" if there else "no numbers"
    return dot_plot(names, panels, title="median and interval", summary=best)


def _dot(one: Interval) -> Dot | None:
    if one.median is None:
        return None
    low, high = (one.median if end is None else end for end in (one.low, one.high))
    return Dot(median=one.median, low=low, high=high)


def _number_axis(rows: Rows) -> str | None:
    """Return the axis whose values are all numbers, where it has at least two."""
    for axis in rows[0]["axes"]:
        values = {row["axes"].get(axis) for row in rows}
        if len(values) >= 2 and all(_as_number(value) is not None for value in values):
            return str(axis)
    return None


def _as_number(value: str | None) -> float | None:
    try:
        return float(value or "")
    except ValueError:
        return None


def _growth(rows: Rows, columns: Sequence[str], axis: str) -> Iterator[str]:
    """Draw each measure against the axis; one line for each value of the other axes, if they can be told apart."""
    subjects: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for row in rows:
        others = " ".join(value for name, value in row["axes"].items() if name != axis)
        subjects.setdefault(others, []).append((float(row["axes"][axis]), row))
    if len(subjects) > len(HUES):
        return
    for column in columns:
        lines = []
        for hue, (name, points) in zip(HUES, subjects.items(), strict=False):
            told = [(x, median) for x, row in sorted(points, key=_first) if (median := cell_of(row, column).median)]
            if told:
                lines.append(Line(name=name, hue=hue, points=told))
        if len({x for line in lines for x, _ in line.points}) >= 2:  # a median of 0 has no place on its axis
            yield _against(axis, column, lines)


def _first(point: tuple[float, Any]) -> float:
    return point[0]


def _against(axis: str, column: str, lines: Sequence[Line]) -> str:
    heading, unit = HEADINGS.get(column, column), _unit(column)
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    x = Axis(low=min(xs), high=max(xs), ticks=tuple((v, units.show_count(v)) for v in xs), label=axis, log=min(xs) > 0)
    y = logarithmic(
        min(ys), max(ys), "median", functools.partial(units.show_value, unit=unit), base=16 if unit == "bytes" else 10
    )
    most = max(lines, key=lambda line: line.points[-1][1])
    told = f"at {units.show_count(most.points[-1][0])}: most {most.name}, {units.show_value(most.points[-1][1], unit)}"
    return chart(f"{heading} against {axis}", x, y, lines, told)


def _unit(column: str) -> str:
    measure = measures.find(column)
    return measure.unit if measure is not None else "count"
