"""The TCP state machine of RFC 9293 3.3.2 as a table, and both ends of one connection walked through it.

    what goes in    the control bits of each segment in the order of the capture: SYN, FIN, RST, and what ACK covers
    what comes out  the state names that each segment puts its two ends into

A capture shows segments, not states: what a segment says of its sender is certain (it was sent), what it says of its
receiver is not (it may be lost, or still on its way). So a SYN or a FIN moves its receiver only where a later segment
of that receiver acknowledges it. When it had not acknowledged it in the meantime, it had not heard it yet: that is
how two FINs that cross are told apart from one that answers the other. A bare ACK is never acknowledged; it is taken
as heard.

TIME-WAIT ends by a timer of the host (2 MSL; 60 s on Linux), which no segment shows. It is the last state here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from lab.report.steps import Step

CLOSED = "CLOSED"
LISTEN = "LISTEN"
SYN_SENT = "SYN-SENT"
SYN_RECEIVED = "SYN-RECEIVED"
ESTABLISHED = "ESTABLISHED"
FIN_WAIT_1 = "FIN-WAIT-1"
FIN_WAIT_2 = "FIN-WAIT-2"
CLOSE_WAIT = "CLOSE-WAIT"
CLOSING = "CLOSING"
LAST_ACK = "LAST-ACK"
TIME_WAIT = "TIME-WAIT"
UNKNOWN = "?"
"""The end never showed itself: no segment of it was seen."""


class Event(Enum):
    """What happens to one end."""

    SEND_SYN = "sends SYN"
    SEND_FIN = "sends FIN"
    SEND_RST = "sends RST"
    HEAR_SYN = "hears a SYN"
    HEAR_FIN = "hears a FIN"
    HEAR_RST = "hears RST"
    SYN_ACKED = "its own SYN is acknowledged"
    FIN_ACKED = "its own FIN is acknowledged"


TABLE: dict[tuple[str, Event], str] = {
    # open: active (figure 6), passive, and both at once (figure 7)
    (CLOSED, Event.SEND_SYN): SYN_SENT,
    (LISTEN, Event.HEAR_SYN): SYN_RECEIVED,
    (SYN_SENT, Event.HEAR_SYN): SYN_RECEIVED,
    (SYN_RECEIVED, Event.SYN_ACKED): ESTABLISHED,
    # close: the active closer's side (figure 12) ...
    (ESTABLISHED, Event.SEND_FIN): FIN_WAIT_1,
    (SYN_RECEIVED, Event.SEND_FIN): FIN_WAIT_1,
    (FIN_WAIT_1, Event.FIN_ACKED): FIN_WAIT_2,
    (FIN_WAIT_2, Event.HEAR_FIN): TIME_WAIT,
    # ... the passive closer's ...
    (ESTABLISHED, Event.HEAR_FIN): CLOSE_WAIT,
    (SYN_RECEIVED, Event.HEAR_FIN): CLOSE_WAIT,
    (CLOSE_WAIT, Event.SEND_FIN): LAST_ACK,
    (LAST_ACK, Event.FIN_ACKED): CLOSED,
    # ... and both at once (figure 13)
    (FIN_WAIT_1, Event.HEAR_FIN): CLOSING,
    (CLOSING, Event.FIN_ACKED): TIME_WAIT,
}
"""(state, event) -> state. What is not in the table changes nothing, but for RST, which ends every state but LISTEN."""


def after(state: str, event: Event) -> str:
    """Return the state that follows."""
    if event in (Event.SEND_RST, Event.HEAR_RST):
        return LISTEN if state == LISTEN else CLOSED
    return TABLE.get((state, event), state)


@dataclass(frozen=True, kw_only=True)
class StatesAt:
    """The states of both ends after one step, and those passed through on the way (none where nothing changed)."""

    orig: str
    resp: str
    orig_changes: tuple[str, ...]
    resp_changes: tuple[str, ...]


@dataclass(kw_only=True)
class _End:
    """One end on its way through the table."""

    state: str
    sent_end: int = 0
    """The sequence number after everything it has sent."""
    fin_end: int | None = None
    """The acknowledgement number that covers its FIN, once sent."""
    changes: list[str] = field(default_factory=list)

    def take(self, *events: Event) -> None:
        """Apply what one segment brings, as one change: FIN with ACK of the FIN leads from FIN-WAIT-1 to TIME-WAIT."""
        before = self.state
        for event in events:
            self.state = after(self.state, event)
        if self.state != before:
            self.changes.append(self.state)


def initial(steps: Sequence[Step]) -> tuple[str, str]:
    """Return the states of originator and responder before the first step, as far as their own segments tell."""
    return _initial(steps, "orig"), _initial(steps, "resp")


def _initial(steps: Sequence[Step], side: str) -> str:
    own = next((step for step in steps if step.direction == side), None)
    if own is None:
        return UNKNOWN
    if own.syn and own.ack is not None:
        return LISTEN
    if own.syn or own.rst:
        return CLOSED  # an active open, or a RST because nobody listens there (RFC 9293 3.10.7.1)
    return ESTABLISHED  # the capture began later than the connection


def walk(steps: Sequence[Step]) -> list[StatesAt]:
    """Walk both ends through the table; n states for n steps, in their order."""
    ends = {side: _End(state=_initial(steps, side)) for side in ("orig", "resp")}
    heard = _heard_at(steps)
    crossed = {at: place for place, at in heard.items() if at != place}
    result = []
    for place, step in enumerate(steps):
        for end in ends.values():
            end.changes = []
        sender, receiver = ends[step.direction], ends[_other(step.direction)]
        _send(sender, step)
        _receive(receiver, step, hears_control=heard.get(place) == place)
        if place in crossed:
            sender.take(*_control(steps[crossed[place]]))
        result.append(
            StatesAt(
                orig=ends["orig"].state,
                resp=ends["resp"].state,
                orig_changes=tuple(ends["orig"].changes),
                resp_changes=tuple(ends["resp"].changes),
            )
        )
    return result


def _other(direction: str) -> str:
    return "resp" if direction == "orig" else "orig"


def _send(end: _End, step: Step) -> None:
    end.sent_end = max(end.sent_end, step.end)
    if step.syn and step.ack is not None:
        end.take(Event.HEAR_SYN)  # else it would not answer, whatever number it acknowledges
    elif step.syn:
        end.take(Event.SEND_SYN)
    if step.fin:
        end.fin_end = step.end
        end.take(Event.SEND_FIN)
    if step.rst:
        end.take(Event.SEND_RST)


def _receive(end: _End, step: Step, *, hears_control: bool) -> None:
    if step.rst:
        end.take(Event.HEAR_RST)
        return
    acknowledged = []
    if step.ack is not None and 1 <= step.ack <= end.sent_end:
        acknowledged.append(Event.SYN_ACKED)
        if end.fin_end is not None and step.ack >= end.fin_end:
            acknowledged.append(Event.FIN_ACKED)
    hears = _control(step) if hears_control else []
    # RFC 9293 3.10.7.4: SYN is looked at before ACK, FIN after it.
    end.take(
        *(event for event in hears if event is Event.HEAR_SYN),
        *acknowledged,
        *(event for event in hears if event is Event.HEAR_FIN),
    )


def _control(step: Step) -> list[Event]:
    """What the receiver of a segment hears beside acknowledgement and data."""
    return [Event.HEAR_SYN] * step.syn + [Event.HEAR_FIN] * step.fin


def _is_copy(later: Step, step: Step) -> bool:
    """Whether a SYN or FIN was sent again. A SYN-ACK that follows a SYN (figure 7) is no copy of it."""
    return (later.syn, later.fin, later.end, later.ack is None) == (step.syn, step.fin, step.end, step.ack is None)


def _heard_at(steps: Sequence[Step]) -> dict[int, int]:
    """Where each SYN and FIN is heard: place of the segment -> place of the step by which its receiver has it.

    That is its own place where the receiver's next segment acknowledges it, else the place of the receiver's last
    segment that does not. Of several copies the last before the acknowledgement counts. Missing: what is never
    acknowledged; nobody is known to have heard it.
    """
    heard: dict[int, int] = {}
    for place, step in enumerate(steps):
        if not (step.syn or step.fin):
            continue
        at, covers = place, step.end if step.fin else step.seq + 1
        for later in range(place + 1, len(steps)):
            other = steps[later]
            if other.direction == step.direction:
                if _is_copy(other, step):
                    break
            elif other.ack is not None and other.ack >= covers:
                heard[place] = at
                break
            else:
                at = later
    return heard
