"""A dot plot: many subjects, several measures, one dot a median with its interval, as one inline SVG.

Every measure is a panel of its own with its own scale, every subject a row through all panels: so each order can be
read by itself, and a subject can be followed from one measure to the next. A bar would claim that its length says
something where the scale is logarithmic; a dot claims its place only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.report import svg
from lab.report.chart import Axis

ROW, TOP, BOTTOM = 20.0, 58.0, 12.0
LABELS, PANEL, GAP = 190.0, 150.0, 22.0
DOT = 3.6
LOG_FROM = 30.0
"""A measure whose largest median is more than this many times its smallest (zeros apart) gets a logarithmic scale; what
is 0 stands at its left edge."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One measure of one subject."""

    median: float
    low: float
    high: float
    """The ends of its interval; both the median where there is none."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One measure of all subjects."""

    heading: str
    note: str
    """What stands below the heading: the direction that is better."""
    show: Callable[[float], str]
    dots: Sequence[Dot | None]
    """In the order of the rows; None where the subject has no number."""


def dot_plot(rows: Sequence[str], panels: Sequence[Panel], *, title: str, summary: str) -> str:
    """Draw the plot. `rows` are the subjects' names, from the top; `summary` says in words what is to be seen."""
    width = LABELS + len(panels) * (PANEL + GAP)
    height = TOP + len(rows) * ROW + BOTTOM
    content = [svg.text(0, 16, title, "strong")]
    for number, name in enumerate(rows):
        at = _y(number)
        content.append(svg.element("path", d=f"M0,{at + ROW / 2:.1f} H{width - GAP:.1f}", class_="faint-line"))
        content.append(svg.text(0, at + 4, name, "mono"))
    for number, panel in enumerate(panels):
        content += _panel(panel, LABELS + number * (PANEL + GAP))
    return svg.drawing("".join(content), width, height, title=title, summary=summary)


def _y(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def _scale(dots: Sequence[Dot], show: Callable[[float], str]) -> Axis:
    """Return the scale of a panel: its ticks are the ends, or a few powers of ten where it is wide."""
    high = _round(max(dot.high for dot in dots), math.ceil) or 1.0
    positive = [dot.median for dot in dots if dot.median > 0]
    log = bool(positive) and max(positive) > LOG_FROM * min(positive)
    low, ticks = 0.0, [0.0, high]
    if log:
        low = _round(min(value for dot in dots for value in (dot.low, dot.median) if value > 0), math.floor)
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        ticks = [10.0**power for power in powers][:: max(math.ceil(len(powers) / 3), 1)]
    return Axis(low=low, high=high, ticks=tuple((tick, show(tick)) for tick in ticks), label="", log=log)


def _round(value: float, towards: Callable[[float], int]) -> float:
    """Return the next value with one digit: 8,413 becomes 8,000 or 9,000."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return towards(round(value / power, 9)) * power


def _panel(panel: Panel, left: float) -> list[str]:
    content = [svg.text(left, 16, panel.heading, "small strong"), svg.text(left, 32, panel.note, "soft small")]
    there = [dot for dot in panel.dots if dot is not None]
    if not there:
        return content
    scale = _scale(there, panel.show)
    floor = _y(len(panel.dots) - 1) + ROW / 2
    for tick, shown in scale.ticks:
        at = left + scale.share(tick) * PANEL
        content.append(svg.element("path", d=f"M{at:.1f},{TOP - 6:.1f} V{floor:.1f}", class_="faint-line"))
        anchor = "start" if at < left + PANEL / 4 else "end" if at > left + PANEL * 3 / 4 else "middle"
        content.append(svg.text(at, TOP - 10, shown, "soft small", anchor))
    for number, dot in enumerate(panel.dots):
        if dot is None:
            continue
        x, low, high = (left + scale.share(value) * PANEL for value in (dot.median, dot.low, dot.high))
        y = _y(number)
        content.append(svg.element("path", d=f"M{low:.1f},{y:.1f} H{high:.1f}", class_="line blue stroke"))
        told = svg.element("title", panel.show(float(f"{dot.median:.3g}")))
        content.append(svg.element("circle", told, cx=x, cy=y, r=DOT, class_="blue fill"))
    return content
