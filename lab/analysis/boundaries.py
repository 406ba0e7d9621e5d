"""Where messages, send calls, segments and recv calls begin and end in one stream of bytes, and who joined or cut what.

TCP carries bytes, not messages (RFC 9293 3.9.1.2: no record boundaries). What programs call "sticky packets" (粘包)
and half ones (半包, 拆包) is the difference between four ways to cut the same stream, one direction of a connection:

    messages   what the sending program means        |-- A --|-- B --|-- C --|
    sends      what it handed over in one call       |-- A --|-- B --|-- C --|
    segments   what its kernel put on the wire       |-- A --|------ BC -----|
    recvs      what one call gave to the receiver    |----- AB ----|--- BC --|

All four are intervals on one axis, the stream offset, so that the first layer in which two messages share a unit, or
one message needs two, is the layer that did it. A **unit** (a send, a segment that brings new bytes, a recv) is

    aligned           exactly one message
    coalesced         a message ends strictly inside it
    split             it ends strictly inside a message; so is a piece that brings only the rest of a message
    coalesced+split   both

and a **message** has a class in each layer too: aligned (one unit, and that holds nothing else), coalesced (a unit that
carries it carries another as well), split (it takes more than one unit), or both. The 4x4 table counts messages by
their class on the wire and at the receiver.

Why messages come joined (`JOINED`), the first layer that did it: `one_send` (the program itself), `cork` (TCP_CORK),
`nagle` (RFC 9293 3.7.4: earlier bytes were not acknowledged when it was sent, and TCP_NODELAY was off), `send_queue`
(it waited in the sender's kernel for another reason: window, congestion window, a busy device; TCP_NODELAY cannot
help), `late_recv` (the wire kept them apart: read late, into a buffer larger than a message). Why one comes cut
(`CUT`): `several_sends`, `mss` (the segment was full), `sender` (its kernel cut elsewhere: window, send buffer),
`recv_size` (the recv's buffer was full), `early_recv` (the call came before the rest). `unknown`: the layer between was
not recorded, or held super-segments, which no wire ever carried.

In: arrays. Out: arrays. Nothing is read, nothing is guessed: bytes outside what the sender logged belong to no message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CLASSES = ("aligned", "coalesced", "split", "coalesced+split")
UNSEEN = -1
"""Class of a message of which this layer did not show every byte; cause of one that needs none."""
JOINED = ("one_send", "cork", "nagle", "send_queue", "late_recv", "unknown")
CUT = ("several_sends", "mss", "sender", "recv_size", "early_recv", "unknown")
ONE_SEND, CORK, NAGLE, SEND_QUEUE, LATE_RECV, JOINED_UNKNOWN = range(6)
SEVERAL_SENDS, MSS, SENDER, RECV_SIZE, EARLY_RECV, CUT_UNKNOWN = range(6)
NOTHING = 99
"""Above every cause: the least of several causes is the first on the way."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """One layer: intervals of the stream in its order, none overlapping."""

    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, starts: npt.ArrayLike, ends: npt.ArrayLike) -> Units:
        """Make a layer of any two sequences of offsets."""
        return cls(starts=np.asarray(starts, np.int64), ends=np.asarray(ends, np.int64))

    @property
    def lengths(self) -> Ints:
        return self.ends - self.starts


@dataclass(frozen=True, kw_only=True)
class Sends:
    """The sender's log."""

    units: Units
    t_ns: Ints
    """When each call began, since 1970."""
    nodelay: Flags
    """TCP_NODELAY at that call."""
    cork: Flags
    """TCP_CORK at that call."""


@dataclass(frozen=True, kw_only=True)
class Segments:
    """The wire, at one vantage: segments that brought new bytes."""

    units: Units
    mss: int | None
    """Most payload of a full segment, options taken off; None: the handshake was not seen."""
    ack_t_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """When each acknowledgement from the other side came, ascending."""
    acked: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Stream offset that it acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Recvs:
    """The receiver's log."""

    units: Units
    asked: Ints
    """Size of the buffer that each call offered."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What became of the messages in one layer."""

    unit_class: Ints
    """Of each unit its place in `CLASSES`; UNSEEN outside the logged messages."""
    first: Ints
    """The first message that each unit holds bytes of."""
    last: Ints
    """The last one."""
    message_class: Ints
    """Of each message its place in `CLASSES`, or UNSEEN."""
    units_of_message: Ints
    """Units that carry bytes of each message."""
    joined_by: Ints
    """Of each message its place in `JOINED`; NOTHING where it is not coalesced in this layer."""
    cut_by: Ints
    """Of each message its place in `CUT`; NOTHING where it is not split in this layer."""


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """One direction of one connection."""

    sends: Layer
    segments: Layer | None
    """None: not captured, or voided by super-segments."""
    recvs: Layer | None
    """None: the receiver kept no log."""

    def table(self) -> Ints:
        """Return the 4x4 table: messages by their class on the wire (rows) and at the receiver (columns)."""
        counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        if self.segments is not None and self.recvs is not None:
            wire, program = self.segments.message_class, self.recvs.message_class
            seen = (wire != UNSEEN) & (program != UNSEEN)
            np.add.at(counts, (wire[seen], program[seen]), 1)
        return counts


def find_boundaries(message_ends: Ints, sends: Sends, segments: Segments | None, recvs: Recvs | None) -> Boundaries:
    """Class every unit and every message of one direction, and find the cause of all that is joined or cut.

    `message_ends` are the offsets at which the sender's messages end, ascending; the first begins at 0.
    """
    edges = np.concatenate((np.zeros(1, np.int64), np.asarray(message_ends, np.int64)))
    joined_in_send = _joined_edges(edges, sends.units)
    none = np.full(len(edges), NOTHING, np.int64)
    sent = _layer(
        edges, sends.units, np.where(joined_in_send, ONE_SEND, none), _cuts(edges, sends.units, SEVERAL_SENDS)
    )
    wire = None
    wire_edges, wire_cuts = np.where(joined_in_send, ONE_SEND, JOINED_UNKNOWN), {}
    if segments is not None:
        wire_edges = _why_joined_on_the_wire(edges, joined_in_send, sends, segments)
        wire_cuts = _why_cut_on_the_wire(edges, sends.units, segments)
        wire = _layer(edges, segments.units, wire_edges, wire_cuts)
    received = None
    if recvs is not None:
        joined = _joined_edges(edges, recvs.units)
        early = np.where(wire_edges == NOTHING, LATE_RECV, wire_edges)
        cuts = _why_cut_at_the_receiver(edges, wire_cuts, segments is not None, recvs)
        received = _layer(edges, recvs.units, np.where(joined, early, none), cuts)
    return Boundaries(sends=sent, segments=wire, recvs=received)


def _joined_edges(edges: Ints, units: Units) -> Flags:
    """Say of each edge between two messages whether one unit reaches across it."""
    joined = np.zeros(len(edges), np.bool_)
    if not len(units.ends):
        return joined
    place = np.searchsorted(units.ends, edges, side="right")
    inside = place < len(units.ends)
    joined[inside] = units.starts[place[inside]] < edges[inside]
    joined[-1] = joined[0] = False  # the ends of what was logged part no two messages
    return joined


def _cuts(edges: Ints, units: Units, cause: int) -> dict[int, int]:
    """Offset -> cause, of every end of a unit that lies strictly inside a message."""
    inside = (units.ends > edges[0]) & (units.ends < edges[-1]) & ~np.isin(units.ends, edges)
    return {int(offset): cause for offset in units.ends[inside]}


def _why_joined_on_the_wire(edges: Ints, joined_in_send: Flags, sends: Sends, segments: Segments) -> Ints:
    causes = np.full(len(edges), NOTHING, np.int64)
    units = segments.units
    for edge in np.flatnonzero(_joined_edges(edges, units)):
        if joined_in_send[edge]:
            causes[edge] = ONE_SEND
            continue
        # The segment waited from its first byte's send call on: that call's options and what was unacknowledged then.
        start = units.starts[np.searchsorted(units.ends, edges[edge], side="right")]
        call = min(int(np.searchsorted(sends.units.ends, start, side="right")), len(sends.t_ns) - 1)
        before = np.searchsorted(segments.ack_t_ns, sends.t_ns[call], side="right")
        acked = segments.acked[:before].max(initial=0)
        if sends.cork[call]:
            causes[edge] = CORK
        elif not sends.nodelay[call] and acked < start:
            causes[edge] = NAGLE
        else:
            causes[edge] = SEND_QUEUE
    return causes


def _why_cut_on_the_wire(edges: Ints, sends: Units, segments: Segments) -> dict[int, int]:
    length = dict(zip(segments.units.ends.tolist(), segments.units.lengths.tolist(), strict=True))
    between_calls = set(sends.ends.tolist())
    causes = {}
    for offset in _cuts(edges, segments.units, SENDER):
        if offset in between_calls:
            causes[offset] = SEVERAL_SENDS
        elif segments.mss is not None and length[offset] >= segments.mss:
            causes[offset] = MSS
        else:
            causes[offset] = SENDER
    return causes


def _why_cut_at_the_receiver(edges: Ints, wire: dict[int, int], wire_known: bool, recvs: Recvs) -> dict[int, int]:
    asked = dict(zip(recvs.units.ends.tolist(), (recvs.asked == recvs.units.lengths).tolist(), strict=True))
    causes = {}
    for offset in _cuts(edges, recvs.units, EARLY_RECV):
        if asked[offset]:
            causes[offset] = RECV_SIZE
        else:
            causes[offset] = wire.get(offset, EARLY_RECV) if wire_known else CUT_UNKNOWN
    return causes


def _layer(edges: Ints, units: Units, joined: Ints, cuts: dict[int, int]) -> Layer:
    """Class the units and messages of one layer. `joined`: cause by edge; `cuts`: cause by offset."""
    count = len(edges) - 1
    known = (units.starts >= edges[0]) & (units.ends <= edges[-1]) & (units.ends > units.starts)
    first = np.clip(np.searchsorted(edges, units.starts, side="right") - 1, 0, max(count - 1, 0))
    last = np.clip(np.searchsorted(edges, units.ends, side="left") - 1, 0, max(count - 1, 0))
    coalesced = last > first
    ends_inside = ~np.isin(units.ends, edges)
    is_rest = ~coalesced & ~np.isin(units.starts, edges)
    unit_class = np.where(known, coalesced + 2 * (ends_inside | is_rest), UNSEEN)

    pieces, shared, seen = (np.zeros(count, np.int64) for _ in range(3))
    for start, end, one, other in zip(units.starts[known], units.ends[known], first[known], last[known], strict=True):
        pieces[one : other + 1] += 1
        shared[one : other + 1] += one != other
        inner = np.minimum(edges[one + 1 : other + 2], end) - np.maximum(edges[one : other + 1], start)
        seen[one : other + 1] += inner
    whole = seen == np.diff(edges)
    message_class = np.where(whole & (pieces > 0), (shared > 0) + 2 * (pieces > 1), UNSEEN)

    cut_by = np.full(count, NOTHING, np.int64)
    for offset, cause in cuts.items():
        message = int(np.searchsorted(edges, offset, side="right")) - 1
        cut_by[message] = min(cut_by[message], cause)
    return Layer(
        unit_class=unit_class.astype(np.int64),
        first=first,
        last=last,
        message_class=message_class.astype(np.int64),
        units_of_message=pieces,
        joined_by=np.where(shared > 0, np.minimum(joined[:-1], joined[1:]), NOTHING),
        cut_by=cut_by,
    )
