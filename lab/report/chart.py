"""Small charts as inline SVG: axes, lines, areas, and nothing else.

Why no charting library: the report is one file without scripts that follows the reader's light or dark scheme.
Libraries that draw SVG fix the colours when they draw and bring tens of megabytes (matplotlib) or a JavaScript engine
(altair, plotly); the charts here are lines over an axis of time or of percentiles, which is what stands below.

In: `Line`s in the units of their axes. Out: an SVG string that shares the ladder's style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from lab import units
from lab.report import svg

WIDTH, HEIGHT = 400.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 16.0, 46.0, 44.0


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a chart's width or height stands for."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Values with their labels."""
    label: str
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands: 0 at `low`, 1 at `high`; values beyond stay at the ends."""
        if self.log:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series of points, in the order of x."""

    name: str
    hue: str
    """A class of `svg.STYLE`: blue, green, orange, violet."""
    points: Sequence[tuple[float, float]]
    steps: bool = False
    """Each value holds until the next x."""
    filled: bool = False


def linear(high: float, label: str, show: Callable[[float], str] = units.show_count, *, low: float = 0.0) -> Axis:
    """An axis from `low` to at least `high` with four to eight round ticks."""
    span = max(high - low, 1e-9)
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    count = math.ceil(span / step - 1e-9)
    ticks = tuple((low + i * step, show(round(low + i * step, 9))) for i in range(count + 1))
    return Axis(low=low, high=low + count * step, ticks=ticks, label=label)


def log_time(low_ns: float, high_ns: float, label: str) -> Axis:
    """An axis of durations by powers of ten."""
    return logarithmic(max(low_ns, 1), max(high_ns, 2), label, units.show_duration)


def logarithmic(low: float, high: float, label: str, show: Callable[[float], str], *, base: int = 10) -> Axis:
    """An axis with a tick at each power of `base`; of powers of ten with 2 and 5 between where there is room."""
    first, last = math.floor(math.log10(low) / math.log10(base)), math.ceil(math.log10(high) / math.log10(base))
    last = max(last, first + 1)
    factors = (1, 2, 5) if base == 10 and last - first <= 2 else (1,)
    values = [factor * float(base) ** power for power in range(first, last) for factor in factors]
    ticks = tuple((value, show(value)) for value in (*values, float(base) ** last))
    return Axis(low=float(base) ** first, high=float(base) ** last, ticks=ticks, label=label, log=True)


def percentiles(count: int, label: str) -> Axis:
    """An axis of percentiles that gives each nine the same room; x is -log10(1 - share). `count`: of the samples."""
    end = math.log10(max(count, 10))
    named = ((0.0, "0"), (math.log10(2), "p50"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99"))
    ticks = tuple((value, name) for value, name in named if value < end - 0.3)
    return Axis(low=0.0, high=end, ticks=(*ticks, (end, "max")), label=label)


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], summary: str) -> str:
    """Draw the lines over the axes. `summary` says in words what is to be seen."""
    content = [svg.text(0, 16, title, "strong"), svg.text(_LEFT, 34, y.label, "soft small")]
    content += _grid(x, y)
    content += [_line(line, x, y) for line in lines]
    if len(lines) > 1:
        content.append(_names(lines))
    return svg.drawing("".join(content), WIDTH, HEIGHT, title=title, summary=summary)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.share(value) * (HEIGHT - _TOP - _BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    content = []
    for value, label in y.ticks:
        at = _y(y, value)
        content.append(svg.element("path", d=f"M{_LEFT:.1f},{at:.1f} H{WIDTH - _RIGHT:.1f}", class_="faint-line"))
        content.append(svg.text(_LEFT - 8, at + 4, label, "soft small", "end"))
    for value, label in x.ticks:
        at = _x(x, value)
        content.append(svg.element("path", d=f"M{at:.1f},{HEIGHT - _BOTTOM:.1f} v5", class_="faint-line"))
        middle = min(at, WIDTH - 3.3 * len(label))  # half of a label, so that the last one is not cut
        content.append(svg.text(middle, HEIGHT - _BOTTOM + 18, label, "soft small", "middle"))
    content.append(svg.text(WIDTH - _RIGHT, HEIGHT - 8, x.label, "soft small", "end"))
    return content


def _line(line: Line, x: Axis, y: Axis) -> str:
    places = [(_x(x, point[0]), _y(y, point[1])) for point in line.points]
    if not places:
        return ""
    path = f"M{places[0][0]:.1f},{places[0][1]:.1f}"
    for across, up in places[1:]:
        path += f" H{across:.1f} V{up:.1f}" if line.steps else f" L{across:.1f},{up:.1f}"
    content = svg.element("path", d=path, class_=f"line {line.hue} stroke", stroke_linejoin="round")
    if line.filled:
        floor = HEIGHT - _BOTTOM
        closed = f"{path} L{places[-1][0]:.1f},{floor:.1f} H{places[0][0]:.1f} Z"
        content = svg.element("path", d=closed, class_=f"{line.hue} tint") + content
    return content


def _names(lines: Sequence[Line]) -> str:
    """Name the lines above the chart, each in its colour."""
    parts = [svg.element("tspan", escape(line.name), class_=f"{line.hue} fill", dx=14) for line in lines]
    return svg.element("text", "".join(parts), x=WIDTH - _RIGHT, y=34, class_="small strong", text_anchor="end")
