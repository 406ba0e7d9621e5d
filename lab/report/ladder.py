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

from collections.abc import Sequence

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
_CLOCKS = {"ms": ("time ms", 1e6), "s": ("time s", 1e9)}
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
    right = min(max(_STATE, len(str(resp)), len(resp.host)), _WIDEST_HEADING)
    arrow = max(width - 2 * (_TIME + 1) - _STATE - 5 - right, 28)
    clock = _CLOCKS["ms" if walked[-1].t_ns < 100_000_000_000 else "s"]
    lines = _heading(walked, orig, resp, arrow, clock)
    shown = shown_places(len(walked), most_steps)
    before = None
    for place in shown:
        skipped = before is not None and place != before + 1
        if skipped:
            assert before is not None
            lines.append(_middle(_left_out(walked[before + 1 : place]), arrow))
        step = walked[place]
        delta_ns = step.t_ns - walked[place - 1].t_ns if place else None
        if delta_ns is not None and delta_ns >= SILENCE_NS and not skipped:
            lines.append(_middle(f"{units.show_duration(delta_ns)} of silence", arrow))
        since = states[before] if skipped and before is not None else None
        lines += _rows(step, states[place], clock, delta_ns, arrow, since)
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


def _row(time: str, delta: str, left: str, middle: str, right: str) -> str:
    return f"{time:>{_TIME}} {delta:>{_TIME}}  {left:<{_STATE}}  {middle}  {right}"


def _heading(walked: Sequence[Step], orig: Endpoint, resp: Endpoint, arrow: int, clock: tuple[str, float]) -> list[str]:
    left_width = _STATE + 2 + arrow
    first_orig, first_resp = tcp_states.initial(walked)
    pairs = [(str(orig), str(resp)), (first_orig, first_resp)]
    if orig.host or resp.host:
        pairs.insert(0, (orig.host or "(not a host of the lab)", resp.host or "(not a host of the lab)"))
    lines = []
    for number, (left, right) in enumerate(pairs):
        time, delta = (clock[0], "delta") if number == 0 else ("", "")
        lines.append(f"{time:>{_TIME}} {delta:>{_TIME}}  {left:<{left_width}}  {right}")
    return lines


def _rows(
    step: Step, now: StatesAt, clock: tuple[str, float], delta_ns: int | None, arrow: int, since: StatesAt | None
) -> list[str]:
    """One step: its arrow; below it the options and remarks, and further states it leads through.

    `since`: the states last drawn, where steps were left out in between; a change among those is told here.
    """
    left = list(now.orig_changes) or ([now.orig] if since and since.orig != now.orig else [_SAME])
    right = list(now.resp_changes) or ([now.resp] if since and since.resp != now.resp else [_SAME])
    below = [text for text in (step.options, step.note and f"^ {step.note}") if text]
    indent = "   " if step.direction == "orig" else "     "
    middles = [_arrow(step, arrow), *(f"{indent}{text}" for text in below)]
    lines = []
    for row in range(max(len(middles), len(left), len(right))):
        time = f"{step.t_ns / clock[1]:.3f}" if row == 0 else ""
        delta = f"+{units.show_duration(delta_ns)}" if row == 0 and delta_ns is not None else ""
        middle = middles[row] if row < len(middles) else ""
        lines.append(
            _row(
                time,
                delta,
                left[row] if row < len(left) else _SAME,
                f"{middle:<{arrow}.{arrow}}",
                right[row] if row < len(right) else _SAME,
            )
        )
    return lines


def _arrow(step: Step, width: int) -> str:
    """An arrow `width` columns long with the label on it; dotted where the segment repeats an earlier one."""
    shaft = "╌" if "retransmission" in step.note else "─"
    if step.direction == "orig":
        return f"{shaft * 2} {label(step)} ".ljust(width - 1, shaft) + ">"
    return f"<{shaft} {label(step)} ".ljust(width, shaft)


def _middle(text: str, arrow: int) -> str:
    """A line between the arrows."""
    return _row("", "", "⋮", f"{text:^{arrow}.{arrow}}", "⋮")


def _left_out(skipped: Sequence[Step]) -> str:
    """Say what the missing middle holds."""
    sent = sum(step.payload_bytes for step in skipped)
    text = f"{len(skipped):,} segments left out, {units.show_bytes(sent)} of payload"
    again = sum("retransmission" in step.note for step in skipped)
    return f"{text}, {again:,} retransmissions" if again else text
