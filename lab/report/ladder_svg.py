"""One connection as a picture: to scale in time, from SYN to TIME-WAIT, with the states of both ends as coloured bands.

    time     state │                                         │ state
    0.000 ms       ├─────────── SYN seq 0 ──────────────────>┤
    0.020 ms       │<────────── SYN-ACK seq 0 ack 1 ─────────┤

In: steps and the two ends. Out: one SVG, readable on light and on dark. Each arrow leaves and arrives at the height
of its time. Where arrows are closer than their labels they bend apart in the middle and together again; where nothing
happens for long, the axis is broken and the pause told. Both ends of an arrow stand at the same height: a vantage
stamps a segment once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab import units
from lab.report import svg, tcp_states
from lab.report.ladder import label, shown_places
from lab.report.steps import Endpoint, Step
from lab.report.tcp_states import StatesAt
from lab.report.time_scale import ROW, TimeScale, spread, time_scale

WIDTH = 960.0
MOST_STEPS = 40
LEFT, RIGHT = 225.0, WIDTH - 145.0
"""Where the two ends' lifelines stand; room beside them for times and states."""
_TOP = 96.0
_TAIL = 46.0
"""The lifelines go on this long after the last segment."""
_BEND = 56.0
_BAND = 9.0

_HUES = {
    tcp_states.CLOSED: "grey",
    tcp_states.LISTEN: "grey",
    tcp_states.SYN_SENT: "blue",
    tcp_states.SYN_RECEIVED: "blue",
    tcp_states.ESTABLISHED: "green",
    tcp_states.FIN_WAIT_1: "orange",
    tcp_states.FIN_WAIT_2: "orange",
    tcp_states.CLOSE_WAIT: "orange",
    tcp_states.CLOSING: "orange",
    tcp_states.LAST_ACK: "orange",
    tcp_states.TIME_WAIT: "violet",
    tcp_states.UNKNOWN: "grey",
}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Heights of everything."""

    drawn: Sequence[int]
    """Places of the drawn steps in the whole connection."""
    scale: TimeScale
    arrows: list[float]
    """Heights of the arrows' ends, to scale."""
    rows: list[float]
    """Heights of their labels, pushed apart."""
    bottom: float


def draw_svg(walked: Sequence[Step], orig: Endpoint, resp: Endpoint, *, most_steps: int = MOST_STEPS) -> str:
    """Draw the steps of one connection; with more than `most_steps` the middle is left out and said."""
    title = f"TCP connection from {orig} to {resp}"
    if not walked:
        return svg.drawing(
            svg.text(20, 30, "no segment of this connection was captured"), WIDTH, 50, title=title, summary=""
        )
    states = tcp_states.walk(walked)
    layout = _lay_out(walked, most_steps)
    content = [
        *_headings(orig, resp),
        *_lifelines(walked, states, layout),
        *_breaks(walked, layout),
    ]
    for number, place in enumerate(layout.drawn):
        content += _arrow(walked[place], layout.arrows[number], layout.rows[number])
    milliseconds = units.show_duration(layout.scale.ns_per_pixel * ROW)
    content.append(
        svg.text(20, layout.bottom + 24, f"To scale: one row is {milliseconds}, but for the breaks.", "soft small")
    )
    summary = f"{len(walked)} segments in {units.show_duration(walked[-1].t_ns)}, the states of both ends beside them"
    return svg.drawing("".join(content), WIDTH, layout.bottom + 36, title=title, summary=summary)


def _lay_out(walked: Sequence[Step], most_steps: int) -> _Layout:
    drawn = shown_places(len(walked), most_steps)
    left_out = [number for number, (here, following) in enumerate(pairwise(drawn)) if following != here + 1]
    scale = time_scale([walked[place].t_ns for place in drawn], left_out)
    bottom = _TOP + max(scale.places[-1], scale.rows[-1]) + _TAIL
    return _Layout(
        drawn=drawn,
        scale=scale,
        arrows=[_TOP + place for place in scale.places],
        rows=[_TOP + row for row in scale.rows],
        bottom=bottom,
    )


def _headings(orig: Endpoint, resp: Endpoint) -> list[str]:
    content = [svg.text(20, 56, "time", "soft small")]
    for x, end in ((LEFT, orig), (RIGHT, resp)):
        content.append(svg.text(x, 24, end.host or str(end), "strong", "middle"))
        if end.host:
            content.append(svg.text(x, 42, str(end), "mono soft", "middle"))
    return content


def _lifelines(walked: Sequence[Step], states: Sequence[StatesAt], layout: _Layout) -> list[str]:
    """Both lifelines: a band in the colour of each state, its name outside at the height where it begins."""
    content = []
    first = tcp_states.initial(walked)
    for side, x in (("orig", LEFT), ("resp", RIGHT)):
        begins = [(first[0] if side == "orig" else first[1], _TOP - 34)]
        for number, place in enumerate(layout.drawn):
            now = states[place]
            changes = now.orig_changes if side == "orig" else now.resp_changes
            state = now.orig if side == "orig" else now.resp
            if not changes and state != begins[-1][0]:
                changes = (state,)  # it changed among the segments left out
            begins += [(change, layout.arrows[number]) for change in changes]
        ends = [height for _, height in begins[1:]] + [layout.bottom - 12]
        for (state, begin), end in zip(begins, ends, strict=True):
            band = {"x": x - _BAND / 2, "width": _BAND, "y": begin, "height": max(end - begin, 0.1)}
            content.append(svg.element("rect", **band, class_=f"{_HUES[state]} fill", fill_opacity="0.75"))  # type: ignore[arg-type]
        labels = spread([height for _, height in begins], 15.0)
        anchor, offset = ("end", -_BAND - 5) if side == "orig" else ("start", _BAND + 5)
        for (state, _), at in zip(begins, labels, strict=True):
            content.append(svg.text(x + offset, at + 4, state, f"{_HUES[state]} fill small strong", anchor))
    return content


def _breaks(walked: Sequence[Step], layout: _Layout) -> list[str]:
    """Where the axis is broken: the lifelines torn by a zigzag, the pause or what was left out told between them."""
    content = []
    for number in layout.scale.broken:
        here, following = layout.drawn[number], layout.drawn[number + 1]
        middle = (layout.rows[number] + layout.rows[number + 1] - 14) / 2
        pause = units.show_duration(walked[following].t_ns - walked[here].t_ns)
        left_out = following - here - 1
        told = f"{left_out:,} segments in {pause} left out" if left_out else pause
        for x in (LEFT, RIGHT):
            zigzag = f"M{x - 9:.0f},{middle + 3:.1f} l6,-6 6,6 6,-6"
            content.append(svg.element("rect", x=x - 10, y=middle - 4.0, width=20, height=8, class_="paper"))
            content.append(svg.element("path", d=zigzag, class_="line grey stroke"))
        content.append(svg.text((LEFT + RIGHT) / 2, middle + 4, told, "soft small", "middle"))
    return content


def _hue(step: Step) -> str:
    if step.rst or step.note:
        return "red"
    if step.syn:
        return "blue"
    if step.fin:
        return "orange"
    return "green" if step.payload_bytes else "grey"


def _arrow(step: Step, at: float, row: float) -> list[str]:
    """One segment: from lifeline to lifeline at its time, over its label's row in the middle."""
    hue = _hue(step)
    start, end = (LEFT, RIGHT) if step.direction == "orig" else (RIGHT, LEFT)
    toward = 1 if end > start else -1
    first, last = start + toward * _BAND, end - toward * (_BAND + 1)
    path = f"M{first:.1f},{at:.1f} {_bend(first, at, first + toward * _BEND, row)}"
    path += f" H{last - toward * _BEND:.1f} {_bend(last - toward * _BEND, row, last, at)}"
    head = f"M{last - toward * 8:.1f},{at - 4:.1f} L{last:.1f},{at:.1f} l{-toward * 8},4"
    dashes = "5 4" if "retransmission" in step.note else None
    remark = ", ".join(part for part in (step.options, step.note) if part)
    hue_of_remark = "red fill" if step.note else "soft"
    return [
        svg.element("path", d=path, class_=f"line {hue} stroke", stroke_dasharray=dashes),
        svg.element("path", d=head, class_=f"line {hue} stroke"),
        svg.text((LEFT + RIGHT) / 2, row - 5, label(step), "mono", "middle", remark, f"small {hue_of_remark}"),
        svg.text(20, row + 4, f"{step.t_ns / 1e6:.3f} ms", "mono soft"),
    ]


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    """A smooth step from one height to another; a straight line where they are the same."""
    if abs(y - to_y) < 0.5:
        return f"L{to_x:.1f},{to_y:.1f}"
    half = (x + to_x) / 2
    return f"C{half:.1f},{y:.1f} {half:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"
