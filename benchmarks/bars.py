"""Horizontal bars, with what is to be reached drawn into them, as SVG for README.md; dots where a scale is logarithmic.

In: rows in the unit of one axis. Out: an SVG string in the style of the lab's reports, light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.report import svg
from lab.report.chart import Axis

WIDTH, LABELS, TOLD = 720.0, 190.0, 190.0
TOP, ROW, BAR = 60.0, 22.0, 12.0
GAP, DOT = 8.0, 4.5


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row."""

    name: str
    value: float
    told: str
    """The value as text, behind the bars."""
    low: float | None = None
    high: float | None = None
    """The ends of its interval; None where there is none."""
    hue: str = "blue"
    """A class of `svg.STYLE`."""


def bars(title: str, rows: Sequence[Bar], axis: Axis, *, marks: Sequence[tuple[float, str]] = ()) -> str:
    """Draw the rows from the top; `marks` are values with a word each, as lines through all rows."""
    bottom = TOP + len(rows) * ROW
    content = [svg.text(0, 16, title, "strong"), svg.text(LABELS, 34, axis.label, "soft small")]
    for value, shown in axis.ticks:
        at = _x(axis, value)
        content.append(svg.element("path", d=f"M{at:.1f},{TOP - 4:.1f} V{bottom:.1f}", class_="faint-line"))
        content.append(svg.text(at, TOP - 8, shown, "soft small", "middle"))
    for number, row in enumerate(rows):
        middle = TOP + ROW * (number + 0.5)
        begin, end = LABELS, max(_x(axis, row.value), LABELS + 1)
        content.append(svg.text(LABELS - GAP, middle + 4, row.name, "small", "end"))
        if axis.log:  # a bar would claim that its length says something
            content.append(svg.element("circle", cx=end, cy=middle, r=DOT, class_=f"{row.hue} fill"))
        else:
            top, hue = middle - BAR / 2, f"{row.hue} fill"
            bar = svg.element("rect", x=begin, y=top, width=end - begin, height=BAR, class_=hue, fill_opacity="0.55")
            content.append(bar)
        if row.low is not None and row.high is not None:
            line = f"M{_x(axis, row.low):.1f},{middle:.1f} H{_x(axis, row.high):.1f}"
            content.append(svg.element("path", d=line, class_=f"line {row.hue} stroke"))
        content.append(svg.text(WIDTH - TOLD + GAP, middle + 4, row.told, "small"))
    for value, word in marks:
        at = _x(axis, value)
        content.append(svg.element("path", d=f"M{at:.1f},{TOP - 4:.1f} V{bottom:.1f}", class_="line orange stroke"))
        content.append(svg.text(at, bottom + 14, word, "small", "middle"))
    summary = "; ".join(f"{row.name}: {row.told}" for row in rows)
    return svg.drawing("".join(content), WIDTH, bottom + (22 if marks else 6), title=title, summary=summary)


def _x(axis: Axis, value: float) -> float:
    return LABELS + axis.share(value) * (WIDTH - LABELS - TOLD)
