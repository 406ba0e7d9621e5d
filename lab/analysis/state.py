"""What the loops remember between packets: one record a pair of endpoints, a connection, a side of it, a flow.

Records (not columns) since one packet touches many facts of one connection: they lie side by side in memory. All are
in growing arrays; `State` is the bundle handed to the compiled loops. A connection's two sides are `sides[2 * id]`,
that of the lower endpoint of its pair, and `sides[2 * id + 1]`, that of the higher one; `orig` of the connection says
which opened it, so that learning it late (a handshake that stands reordered in the file) moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lab.analysis import kept_memory

PAIR = np.dtype(
    [
        ("low_high", np.uint64),
        ("low_low", np.uint64),
        ("high_high", np.uint64),
        ("high_low", np.uint64),
        ("hash", np.uint64),
        ("vantage", np.uint32),
        ("low_port", np.uint16),
        ("high_port", np.uint16),
        ("low_address", np.uint32),
        ("high_address", np.uint32),
        ("protocol", np.uint8),
        ("ip_version", np.uint8),
    ],
    align=True,
)
"""Two endpoints (address, port) of one protocol at one vantage, the lower one first. `low_address` and `high_address`
are rows of `addresses`."""

LIVE = np.dtype(np.int32)
"""A pair's latest connection or flow, and one more; 0 before any. Not in the pair's record: one thread finds pairs
while another follows, and so neither writes where the other does. Memory of zeros says "none" of a pair half written.
"""

ADDRESS = np.dtype(
    [("high", np.uint64), ("low", np.uint64), ("ip_version", np.uint8), ("originator", np.uint8)], align=True
)
"""One address. `originator`: the caller says that this is a client's."""

HISTORY_LETTERS = 28
HISTORY_TEXT = HISTORY_LETTERS + 1
"""The letters, and a ^ before them."""

CONNECTION = np.dtype(
    [
        ("last_t", np.int64),
        ("last_packet", np.int64),
        ("pair", np.int32),
        ("previous", np.int32),
        ("orig", np.uint8),
        ("opened", np.uint8),
        ("reordered", np.uint8),
        ("rst_kind", np.uint8),
        ("rst_side", np.uint8),
        ("icmp_type", np.uint8),
        ("icmp_code", np.uint8),
        ("history_length", np.uint8),
        ("history", np.uint8, (HISTORY_LETTERS,)),
        ("capture_duplicates", np.uint32),
        # 64 bytes: what every segment touches stands before
        ("first_t", np.int64),
        ("first_packet", np.int64),
        ("rst_t", np.int64),
        ("rst_packets", np.uint32),
        ("icmp_errors", np.uint32),
        ("filler", np.uint64, (4,)),  # to 128 bytes
    ],
    align=True,
)
"""One incarnation of a 4-tuple. `opened`: its handshake is complete. `previous`: the incarnation before it, or -1."""

NO_SCALE = -1
"""The window scale of a side that has offered none."""

SIDE = np.dtype(
    [
        # What nearly every segment touches comes first, and fills two cache lines.
        # the stream
        ("isn", np.uint32),
        ("base", np.uint32),
        ("end", np.uint32),
        ("highest_ack", np.uint32),
        ("last_ack", np.uint32),
        ("window", np.uint32),
        ("packets", np.uint32),
        ("new", np.uint32),
        ("pure_acks", np.uint32),
        ("gap", np.int32),
        ("letters", np.uint16),
        ("gaps", np.uint16),
        ("mss", np.uint16),
        ("duplicate_run", np.uint16),
        ("seen", np.uint8),
        ("has_isn", np.uint8),
        ("has_ack", np.uint8),
        ("has_fin", np.uint8),
        ("window_scale", np.int8),
        ("timing", np.uint8),
        ("recovering", np.uint8),
        ("acked_keep_alive", np.uint8),
        ("timed_end", np.uint32),
        ("recover", np.uint32),
        # 64 bytes
        ("bytes", np.int64),
        ("timed_t", np.int64),
        ("rtt_min", np.int64),
        ("rtt_sum", np.int64),
        ("rtt_samples", np.uint32),
        ("fin_seq", np.uint32),
        ("keep_alives", np.uint32),
        ("probes", np.uint32),
        ("zero_windows", np.uint32),
        ("sack_edge", np.uint32),
        ("last_retransmission", np.int32),
        ("syns", np.uint32),
        # 128 bytes: the handshake
        ("syn_t", np.int64),
        ("syn_ack_t", np.int64),
        ("ack_t", np.int64),
        ("early_t", np.int64),
        ("syn_payload", np.uint32),
        ("syn_ack_number", np.uint32),
        ("early_seq", np.uint32),
        ("early_ack", np.uint32),
        ("syn_acks", np.uint32),
        ("bad_acks", np.uint32),
        ("has_early", np.uint8),
        ("syn_ack_valid", np.uint8),
        ("acked_syn", np.uint8),
        ("acked_syn_plainly", np.uint8),
        ("sack_permitted", np.uint8),
        ("timestamps", np.uint8),
        ("cookie", np.uint8),
        # the teardown
        ("acked_fin", np.uint8),
        # 192 bytes
        ("acked_fin_plainly", np.uint8),
        ("sent_after_fin_acked", np.uint8),
        ("fin_ack", np.uint32),
        ("plain_ack_seq", np.uint32),
        # counts of what is rare
        ("fins", np.uint32),
        ("resets", np.uint32),
        ("retransmissions", np.uint32),
        ("partial", np.uint32),
        ("fast", np.uint32),
        ("spurious", np.uint32),
        ("out_of_order", np.uint32),
        ("duplicate_acks", np.uint32),
        ("super_segments", np.uint32),
        ("retransmitted_bytes", np.uint32),
        ("gap_letters", np.uint32),
        ("filler", np.uint64),  # to 256 bytes: a side begins where a cache line begins
    ],
    align=True,
)
"""What one side of a connection sent. Groups: its stream, recovery and round trips; its part in the handshake; in the
teardown; counts.

`base` is the first sequence number seen (the ISN where a SYN was), `end` the number after the highest octet seen, SYN
and FIN counted. `highest_ack` and `window` are what it last promised the other side, `last_ack` the acknowledgement
number of its last segment, right or wrong. `early_*` is an acknowledgement seen before the SYN it may answer.
`acked_x` says this side acknowledged the *other* side's SYN or FIN; `plainly` by a segment without SYN or FIN of its
own.
"""

GAP = np.dtype([("start", np.uint32), ("end", np.uint32), ("next", np.int32)], align=True)
"""A hole in one side's stream: octets below `end` of the side not seen yet. Holes of a side are linked in order."""

RETRANSMISSION_LOG = np.dtype(
    [
        ("packet", np.int64),
        ("start", np.uint32),
        ("end", np.uint32),
        ("previous", np.int32),
        ("spurious", np.uint8),
    ],
    align=True,
)
"""One retransmitted interval; `previous` is the same side's one before, or -1. A later DSACK may prove it spurious."""

FLOW = np.dtype(
    [
        ("first_t", np.int64),
        ("last_t", np.int64),
        ("first_packet", np.int64),
        ("last_packet", np.int64),
        ("pair", np.int32),
        ("low_packets", np.uint32),
        ("high_packets", np.uint32),
        ("fragments", np.uint32),
        ("low_bytes", np.int64),
        ("high_bytes", np.int64),
        ("icmp_errors", np.uint32),
        ("capture_duplicates", np.uint32),
        ("first_reply_t", np.int64),
        ("orig", np.uint8),
        ("icmp_type", np.uint8),
        ("icmp_code", np.uint8),
    ],
    align=True,
)
"""A UDP exchange between two endpoints, an ICMP exchange, or packets of another IP protocol between two addresses."""

DATAGRAM = np.dtype(
    [
        ("key", np.uint64),
        ("seq", np.uint32),
        ("ack", np.uint32),
        ("flags", np.uint16),
        ("window", np.uint16),
        ("source_port", np.uint16),
        ("destination_port", np.uint16),
        ("header", np.uint16),
        ("pair", np.int32),
        ("source_is_low", np.uint8),
    ],
    align=True,
)
"""The first fragment of an IP datagram: what later fragments lack."""

RECENT = np.dtype([("digest", np.uint64), ("t_ns", np.int64)], align=True)
"""A packet seen a moment ago, to know its copy by."""

RECENT_PACKETS = 1 << 12
DATAGRAMS = 1 << 10

PAIRS, ADDRESSES = range(2)
CONNECTIONS, FLOWS, GAPS, FREE_GAP, RETRANSMISSIONS, ORIGINATORS_GIVEN, COUNTERS = range(16, 23)
"""Places in `State.counts`: how many records of each array are in use; the head of the list of free gaps; whether the
caller named originators. Those that finding pairs counts up lie two cache lines before those that following does."""


class State(NamedTuple):
    """All that is remembered between packets, as arrays for the compiled loops."""

    counts: Any
    slots: Any
    """Hash table of pairs: upper half of the hash, lower half row + 1; 0 = empty. Its size is a power of two."""
    address_slots: Any
    pairs: Any
    live: Any
    addresses: Any
    connections: Any
    sides: Any
    flows: Any
    gaps: Any
    retransmissions: Any
    recent: Any
    datagrams: Any


def _fresh(record: np.dtype[Any], **but: int) -> npt.NDArray[Any]:
    """One record of zeros, but for some fields."""
    made = np.zeros(1, record)
    for name, value in but.items():
        made[name] = value
    return made


FRESH_CONNECTION = _fresh(CONNECTION)
FRESH_SIDE = _fresh(SIDE, gap=-1, window_scale=NO_SCALE, last_retransmission=-1)
FRESH_FLOW = _fresh(FLOW, first_reply_t=-1)
"""How such records begin. What their memory holds before is not defined."""

GROWING = {
    "pairs": (PAIR, PAIRS, 1),
    "live": (LIVE, PAIRS, 1),
    "addresses": (ADDRESS, ADDRESSES, 2),
    "connections": (CONNECTION, CONNECTIONS, 1),
    "sides": (SIDE, CONNECTIONS, 2),
    "flows": (FLOW, FLOWS, 1),
    "gaps": (GAP, GAPS, 1),
    "retransmissions": (RETRANSMISSION_LOG, RETRANSMISSIONS, 1),
}
"""Growing arrays: record, the count that tells how full it is, records per count that one packet may add. Whoever
counts one up writes all of its fields; of `live` alone every record is 0 before."""


FIRST_ROOM = 1 << 18
"""Connections that fit before anything has to move (half as many pairs); unused room is address space only."""


def empty_state() -> State:
    """The state before the first packet."""
    counts = np.zeros(COUNTERS, np.int64)
    counts[FREE_GAP] = -1
    return State(
        counts=counts,
        slots=kept_memory.zeros(FIRST_ROOM, np.uint64),
        address_slots=np.zeros(1 << 10, np.uint32),
        recent=np.zeros(RECENT_PACKETS, RECENT),
        datagrams=np.zeros(DATAGRAMS, DATAGRAM),
        **{name: np.zeros(0, record) for name, (record, _, _) in GROWING.items()},
    )


ROOM_A_PACKET = 16
"""But no more room at first than for so many connections a packet: large arrays get huge pages, and to clear one for
each would cost more than the whole analysis of a small capture."""
CACHE_LINE = 64


def room(state: State, most: Mapping[str, int]) -> int:
    """How many more packets the growing arrays have room for, whatever these add.

    `most`: so many records shall some arrays hold where they are, by name.
    """
    left: list[int] = []
    for name, (_, counter, each) in GROWING.items():
        size = int(getattr(state, name).size)
        used = int(state.counts[counter]) * (2 if name == "sides" else 1)
        left.append((min(size, most.get(name, size)) - used) // each)
    return min(left)


def with_room(state: State, packets: int) -> State:
    """The same state with room for all that `packets` more packets may add, so that the loops never have to grow
    anything.

    Arrays double, and pages not written to yet take no memory.
    """
    first_room = min(FIRST_ROOM, ROOM_A_PACKET * packets)
    grown = {}
    for name, (record, counter, each) in GROWING.items():
        array = getattr(state, name)
        used = int(state.counts[counter]) * (2 if name == "sides" else 1)
        if used + packets * each > array.size:
            larger = kept_memory.empty(max(2 * (used + packets * each), first_room * each), record)
            larger[:used] = array[:used]
            if name == "live":
                larger[used:] = 0
            grown[name] = larger
    return state._replace(**grown) if grown else state
