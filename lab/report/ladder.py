"""One connection drawn as a ladder of text: two ends, an arrow a segment, the states each segment leads to.

      time ms     delta  client-1                                         server
                         10.64.0.11:40001                                 10.64.0.2:9000
                         CLOSED                                           LISTEN
        0.000            SYN-SENT      ── SYN seq 0 win 64240 ─────────>  SYN-RECEIVED
                         │                mss 1460, sack, wscale 7        │
        0.021    +21 us  ESTABLISHED   <─ SYN-ACK seq 0 ack 1 ──────────  │

In: steps (`steps.py`) and the two ends. Out: lines. It draws what the capture saw at its vantage, in the capture's
order; where neither end changes its state, a bar stands for "as before". It is not to scale: the delta column tells
the time, and a line of its own marks a long silence. `ladder_svg.py` draws to scale.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lab import units
from lab.report import tcp_states
from lab.report.steps import Endpoint, Step, choose_typical, flag_names, steps, typical
from lab.report.tcp_states import StatesAt

__all__ = ["Endpoint", "Step", "choose_typical", "draw", "label", "shown_places", "steps", "typical"]

MOST_STEPS = 24
"""Steps drawn before the middle is left out."""
SILENCE_NS = 200_000_000
"""A pause this long gets a line of its own: the shortest retransmission timeout of Linux."""
_TIME = 9
_STATE = 12
_WIDEST_HEADING = 21
"""An IPv4 address and a port. A longer name or address stands beyond the width."""
_ROOMY = 92
"""Narrower drawings leave out the delta column for the arrows' sake."""
_NARROWEST_ARROW = 30


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """The columns of one drawing."""

    arrow: int
    """Width of the column between the two ends."""
    deltas: bool
    clock: str
    """Heading of the time column, with its unit."""
    ns_per_unit: float

    @classmethod
    def of(cls, walked: Sequence[Step], orig: Endpoint, resp: Endpoint, width: int) -> _Grid:
        right = min(max(_STATE, len(str(resp)), len(resp.host)), _WIDEST_HEADING)
        deltas = width >= _ROOMY
        fixed = (_TIME + 1) * (1 + deltas) + _STATE + 5 + right
        in_ms = walked[-1].t_ns < 100_000_000_000
        return cls(
            arrow=max(width - fixed, _NARROWEST_ARROW),
            deltas=deltas,
            clock="time ms" if in_ms else "time s",
            ns_per_unit=1e6 if in_ms else 1e9,
        )

    def row(self, left: str, middle: str, right: str, *, time: str = "", delta: str = "") -> str:
        """One line: `left` may run into `middle` where that is empty."""
        times = f"{time:>{_TIME}} {delta:>{_TIME}}" if self.deltas else f"{time:>{_TIME}}"
        between = f"{left:<{_STATE}}  {middle:<{self.arrow}.{self.arrow}}" if middle else left
        return f"{times}  {between:<{_STATE + 2 + self.arrow}}  {right}"

    def between(self, text: str) -> str:
        """A line between the arrows."""
        return self.row("⋮", f"{text:^{self.arrow}}", "⋮")

    def time(self, step: Step) -> str:
        return f"{step.t_ns / self.ns_per_unit:.3f}"


_SAME = "│"


def draw(
    walked: Sequence[Step], orig: Endpoint, resp: Endpoint, *, width: int = 100, most_steps: int = MOST_STEPS
) -> list[str]:
    """Draw the steps of one connection as lines of at most `width` columns.

    With more than `most_steps` the middle is left out, and a line says how much.
    """
    if not walked:
        return ["no segment of this connection was captured"]
    states = tcp_states.walk(walked)
    grid = _Grid.of(walked, orig, resp, width)
    lines = _heading(walked, orig, resp, grid)
    before = None
    for place in shown_places(len(walked), most_steps):
        step = walked[place]
        delta_ns = step.t_ns - walked[place - 1].t_ns if place else None
        since = None
        if before is not None and place != before + 1:
            lines.append(grid.between(_left_out(walked[before + 1 : place])))
            since = states[before]
        elif delta_ns is not None and delta_ns >= SILENCE_NS:
            lines.append(grid.between(f"{units.show_duration(delta_ns)} of silence"))
        lines += _rows(step, states[place], delta_ns, grid, since)
        before = place
    return [line.rstrip() for line in lines]


def shown_places(count: int, most: int) -> list[int]:
    """Which of `count` steps to draw: all, or the first two thirds of `most` and the rest from the end."""
    if count <= most:
        return list(range(count))
    head = max(most * 2 // 3, 1)
    return [*range(head), *range(count - (most - head), count)]


def label(step: Step) -> str:
    """Say what a segment is: control bits, relative numbers, length; the window where it is news."""
    parts = [flag_names(step.flags), f"seq {step.seq}"]
    if step.ack is not None:
        parts.append(f"ack {step.ack}")
    if step.payload_bytes or not step.flags & 0x7:
        parts.append(f"len {step.payload_bytes}")
    if step.syn or "zero window" in step.note:
        parts.append(f"win {step.window}")
    return " ".join(parts)


def _heading(walked: Sequence[Step], orig: Endpoint, resp: Endpoint, grid: _Grid) -> list[str]:
    pairs = [(str(orig), str(resp)), tcp_states.initial(walked)]
    if orig.host or resp.host:
        pairs.insert(0, (orig.host or "(not a host of the lab)", resp.host or "(not a host of the lab)"))
    first, *others = pairs
    return [
        grid.row(first[0], "", first[1], time=grid.clock, delta="delta"),
        *(grid.row(left, "", right) for left, right in others),
    ]


def _rows(step: Step, now: StatesAt, delta_ns: int | None, grid: _Grid, since: StatesAt | None) -> list[str]:
    """One step: its arrow; below it the options and remarks, and further states it leads through.

    `since`: the states last drawn, where steps were left out in between; a change among those is told here.
    """
    left = list(now.orig_changes) or ([now.orig] if since and since.orig != now.orig else [])
    right = list(now.resp_changes) or ([now.resp] if since and since.resp != now.resp else [])
    middles = [_arrow(step, grid.arrow), *_below(step, grid.arrow)]
    delta = f"+{units.show_duration(delta_ns)}" if delta_ns is not None else ""
    lines = []
    for number, (left_state, middle, right_state) in enumerate(zip_longest(left, middles, right)):
        times = {"time": grid.time(step), "delta": delta} if number == 0 else {}
        lines.append(grid.row(left_state or _SAME, middle or " ", right_state or _SAME, **times))
    return lines


def _arrow(step: Step, width: int) -> str:
    """An arrow `width` columns long with the label on it; dotted where the segment repeats an earlier one."""
    shaft = "╌" if "retransmission" in step.note else "─"
    on_it = label(step) if _fits(step, width) else flag_names(step.flags)
    if step.direction == "orig":
        return f"{shaft * 2} {on_it} ".ljust(width - 1, shaft) + ">"
    return f"<{shaft} {on_it} ".ljust(width, shaft)


def _fits(step: Step, width: int) -> bool:
    return len(label(step)) + 5 <= width


def _below(step: Step, width: int) -> list[str]:
    """What stands below the arrow: numbers too long for it, options, remarks."""
    numbers = "" if _fits(step, width) else label(step).removeprefix(flag_names(step.flags)).strip()
    indent = "   " if step.direction == "orig" else "     "
    texts = [text for text in (numbers, step.options, step.note and f"^ {step.note}") if text]
    return [f"{indent}{line}" for text in texts for line in textwrap.wrap(text, width - len(indent))]


def _left_out(skipped: Sequence[Step]) -> str:
    """Say what the missing middle holds."""
    sent = sum(step.payload_bytes for step in skipped)
    text = f"{len(skipped):,} segments left out, {units.show_bytes(sent)} of payload"
    again = sum("retransmission" in step.note for step in skipped)
    return f"{text}, {again:,} retransmissions" if again else text
