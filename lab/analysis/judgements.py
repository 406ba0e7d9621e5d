"""From what was remembered of each connection to its row: the judgements, and the counts of both sides.

Runs once, when all packets are through (drop counters stand at a capture's end, and decide what may be claimed). The
second loop gives each packet what only its connection's end could tell: direction, relative numbers, scaled window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab.analysis.compiled import kernel
from lab.analysis.handshake import judge_handshake
from lab.analysis.history import FROM_HIGH, judge_conn_state
from lab.analysis.streams import missing_bytes
from lab.analysis.teardown import judge_teardown
from lab.analysis.words import SYN, TCP

NOT_KNOWN = np.int64(-(1 << 62))
"""Stands for null in signed columns."""
CASE_BIT = 0x20
LETTER_BYTES = np.frombuffer(b"shadfrtgwqi", np.uint8)


class ConnectionColumns(NamedTuple):
    """One place a connection: what is said of it as a whole. Codes are those of `words.py`."""

    orig_address: Any
    resp_address: Any
    orig_port: Any
    resp_port: Any
    ip_version: Any
    capture: Any
    start_ns: Any
    duration_ns: Any
    handshake: Any
    reason: Any
    variant: Any
    reordered: Any
    teardown: Any
    reset: Any
    reset_by: Any
    reset_ns: Any
    closer: Any
    time_wait: Any
    conn_state: Any
    history: Any
    evidence_lost: Any
    syns: Any
    syn_acks: Any
    syn_ack_rtt_ns: Any
    ack_rtt_ns: Any
    scaled: Any
    sack: Any
    timestamps: Any
    fast_open_cookie: Any
    capture_duplicates: Any
    icmp_errors: Any
    icmp_type: Any
    icmp_code: Any
    first_packet: Any
    last_packet: Any
    previous: Any


CONNECTION_TYPES = ConnectionColumns(
    orig_address=np.uint32,
    resp_address=np.uint32,
    orig_port=np.uint16,
    resp_port=np.uint16,
    ip_version=np.uint8,
    capture=np.uint16,
    start_ns=np.int64,
    duration_ns=np.int64,
    handshake=np.uint8,
    reason=np.uint8,
    variant=np.uint8,
    reordered=np.bool_,
    teardown=np.uint8,
    reset=np.uint8,
    reset_by=np.uint8,
    reset_ns=np.int64,
    closer=np.uint8,
    time_wait=np.uint8,
    conn_state=np.uint8,
    history=np.uint32,
    evidence_lost=np.bool_,
    syns=np.uint32,
    syn_acks=np.uint32,
    syn_ack_rtt_ns=np.int64,
    ack_rtt_ns=np.int64,
    scaled=np.bool_,
    sack=np.bool_,
    timestamps=np.bool_,
    fast_open_cookie=np.bool_,
    capture_duplicates=np.uint32,
    icmp_errors=np.uint32,
    icmp_type=np.int16,
    icmp_code=np.int16,
    first_packet=np.uint64,
    last_packet=np.uint64,
    previous=np.int32,
)


class SideColumns(NamedTuple):
    """Two places a connection: first all originators, then all responders."""

    packets: Any
    bytes: Any
    missing_bytes: Any
    isn: Any
    mss: Any
    wscale: Any
    sack: Any
    timestamps: Any
    new: Any
    retransmissions: Any
    partial: Any
    fast: Any
    timeout: Any
    spurious: Any
    retransmitted_bytes: Any
    out_of_order: Any
    keep_alives: Any
    probes: Any
    duplicate_acks: Any
    zero_windows: Any
    super_segments: Any
    pure_acks: Any
    fins: Any
    resets: Any
    rtt_samples: Any
    rtt_min_ns: Any
    rtt_mean_ns: Any


SIDE_TYPES = SideColumns(
    packets=np.uint32,
    bytes=np.uint64,
    missing_bytes=np.uint64,
    isn=np.int64,
    mss=np.int32,
    wscale=np.int8,
    sack=np.bool_,
    timestamps=np.bool_,
    new=np.uint32,
    retransmissions=np.uint32,
    partial=np.uint32,
    fast=np.uint32,
    timeout=np.uint32,
    spurious=np.uint32,
    retransmitted_bytes=np.uint32,
    out_of_order=np.uint32,
    keep_alives=np.uint32,
    probes=np.uint32,
    duplicate_acks=np.uint32,
    zero_windows=np.uint32,
    super_segments=np.uint32,
    pure_acks=np.uint32,
    fins=np.uint32,
    resets=np.uint32,
    rtt_samples=np.uint32,
    rtt_min_ns=np.int64,
    rtt_mean_ns=np.int64,
)


def connection_columns(count: int) -> tuple[ConnectionColumns, SideColumns]:
    """Make room for `count` connections."""
    return (
        ConnectionColumns(*(np.empty(count, kind) for kind in CONNECTION_TYPES)),
        SideColumns(*(np.empty(2 * count, kind) for kind in SIDE_TYPES)),
    )


@kernel
def write_side(out, place, side, missing):
    """Write one side's counts to its place."""
    out.packets[place] = side.packets
    out.bytes[place] = side.bytes
    out.missing_bytes[place] = missing
    out.isn[place] = np.int64(side.isn) if side.has_isn else NOT_KNOWN
    out.mss[place] = np.int64(side.mss) if side.mss else -1
    out.wscale[place] = side.window_scale
    out.sack[place] = side.sack_permitted
    out.timestamps[place] = side.timestamps
    out.new[place] = side.new
    out.retransmissions[place] = side.retransmissions
    out.partial[place] = side.partial
    out.fast[place] = side.fast
    out.timeout[place] = side.retransmissions - side.fast
    out.spurious[place] = side.spurious
    out.retransmitted_bytes[place] = side.retransmitted_bytes
    out.out_of_order[place] = side.out_of_order
    out.keep_alives[place] = side.keep_alives
    out.probes[place] = side.probes
    out.duplicate_acks[place] = side.duplicate_acks
    out.zero_windows[place] = side.zero_windows
    out.super_segments[place] = side.super_segments
    out.pure_acks[place] = side.pure_acks
    out.fins[place] = side.fins
    out.resets[place] = side.resets
    out.rtt_samples[place] = side.rtt_samples
    out.rtt_min_ns[place] = side.rtt_min if side.rtt_samples else NOT_KNOWN
    out.rtt_mean_ns[place] = side.rtt_sum // np.int64(side.rtt_samples) if side.rtt_samples else NOT_KNOWN


@kernel
def judge_connections(state, first, count, lossy, out, sides_out):
    """Judge connections `first` to `first + count`; `lossy[capture]` says whether that capture lost packets.

    Each place i of `out` is connection first + i; its sides are places i and count + i of `sides_out`.
    """
    for i in range(count):
        number = first + i
        connection = state.connections[number]
        pair = state.pairs[connection.pair]
        orig, resp = state.sides[2 * number + connection.orig], state.sides[2 * number + 1 - connection.orig]
        out.orig_address[i] = pair.high_address if connection.orig else pair.low_address
        out.resp_address[i] = pair.low_address if connection.orig else pair.high_address
        out.orig_port[i] = pair.high_port if connection.orig else pair.low_port
        out.resp_port[i] = pair.low_port if connection.orig else pair.high_port
        out.ip_version[i] = pair.ip_version
        capture = pair.vantage >> 16
        out.capture[i] = capture
        out.start_ns[i] = connection.first_t
        out.duration_ns[i] = connection.last_t - connection.first_t

        orig_missing, resp_missing = missing_bytes(state, orig, resp), missing_bytes(state, resp, orig)
        evidence_lost = lossy[capture] or (orig_missing > 0) or (resp_missing > 0)
        out.evidence_lost[i] = evidence_lost
        out.handshake[i], out.reason[i], out.variant[i] = judge_handshake(connection, orig, resp, evidence_lost)
        teardown, closer, time_wait = judge_teardown(connection, orig, resp, evidence_lost)
        out.teardown[i], out.closer[i], out.time_wait[i] = teardown, closer, time_wait
        out.reordered[i] = connection.reordered
        out.reset[i] = connection.rst_kind
        out.reset_by[i] = 0 if not connection.rst_kind else (1 if connection.rst_side == connection.orig else 2)
        out.reset_ns[i] = connection.rst_t if connection.rst_kind else NOT_KNOWN
        out.conn_state[i] = judge_conn_state(connection, orig, resp)

        out.syns[i] = orig.syns + resp.syns
        out.syn_acks[i] = orig.syn_acks + resp.syn_acks
        answered = orig.syns and resp.syn_ack_valid
        out.syn_ack_rtt_ns[i] = resp.syn_ack_t - orig.syn_t if answered else NOT_KNOWN
        out.ack_rtt_ns[i] = orig.ack_t - resp.syn_ack_t if answered and connection.opened and orig.ack_t else NOT_KNOWN
        out.scaled[i] = orig.window_scale >= 0 and resp.window_scale >= 0
        out.sack[i] = orig.sack_permitted and resp.sack_permitted
        out.timestamps[i] = orig.timestamps and resp.timestamps
        out.fast_open_cookie[i] = orig.cookie or resp.cookie
        out.capture_duplicates[i] = connection.capture_duplicates
        out.icmp_errors[i] = connection.icmp_errors
        out.icmp_type[i] = connection.icmp_type if connection.icmp_errors else -1
        out.icmp_code[i] = connection.icmp_code if connection.icmp_errors else -1
        out.first_packet[i] = connection.first_packet
        out.last_packet[i] = connection.last_packet
        out.previous[i] = connection.previous
        write_side(sides_out, i, orig, orig_missing)
        write_side(sides_out, count + i, resp, resp_missing)


@kernel
def write_histories(state, first, count, slots, texts, lengths, text, out):
    """Number the distinct history strings of these connections: `out` gets each one's number, `texts` the strings.

    `slots` is an empty hash table of a power of two at least twice `count`, `text` room for one string. Returns how
    many distinct strings there are.
    """
    mask = slots.size - 1
    distinct = 0
    for i in range(count):
        connection = state.connections[first + i]
        length = np.int64(connection.history_length)
        hashed = np.uint64(14695981039346656037)
        for k in range(length):
            letter = np.int64(connection.history[k])
            text[k] = LETTER_BYTES[letter & 0x7F]
            if (letter & FROM_HIGH != 0) == (connection.orig != 0):
                text[k] -= CASE_BIT
            hashed = (hashed ^ np.uint64(text[k])) * np.uint64(1099511628211)
        place = np.int64((hashed ^ (hashed >> np.uint64(29))) & np.uint64(mask))
        while True:
            known = np.int64(slots[place]) - 1
            if known < 0:
                slots[place] = distinct + 1
                lengths[distinct] = length
                for k in range(length):
                    texts[distinct, k] = text[k]
                out[i] = distinct
                distinct += 1
                break
            same = lengths[known] == length
            for k in range(length):
                same = same and texts[known, k] == text[k]
            if same:
                out[i] = known
                break
            place = (place + 1) & mask
    return distinct


class PacketColumns(NamedTuple):
    """One place a packet: what was read of it, and what it gets from its pair and its connection."""

    t_ns: Any
    capture: Any
    captured: Any
    original: Any
    vlan: Any
    ip_version: Any
    protocol: Any
    ip_id: Any
    ttl: Any
    source_port: Any
    destination_port: Any
    flags: Any
    seq: Any
    ack: Any
    timestamp_value: Any
    timestamp_echo: Any
    sack_blocks: Any
    payload: Any
    segment_class: Any
    retransmission_kind: Any
    marks: Any
    connection: Any
    flow: Any
    direction: Any
    source_address: Any
    destination_address: Any
    relative_seq: Any
    relative_ack: Any
    window: Any
    has_relative_seq: Any
    has_relative_ack: Any


PACKET_TYPES = PacketColumns(
    t_ns=np.int64,
    capture=np.uint16,
    captured=np.uint32,
    original=np.uint32,
    vlan=np.uint16,
    ip_version=np.uint8,
    protocol=np.uint8,
    ip_id=np.uint16,
    ttl=np.uint8,
    source_port=np.uint16,
    destination_port=np.uint16,
    flags=np.uint16,
    seq=np.uint32,
    ack=np.uint32,
    timestamp_value=np.uint32,
    timestamp_echo=np.uint32,
    sack_blocks=np.uint8,
    payload=np.uint32,
    segment_class=np.uint8,
    retransmission_kind=np.uint8,
    marks=np.uint16,
    connection=np.uint32,
    flow=np.uint32,
    direction=np.uint8,
    source_address=np.uint32,
    destination_address=np.uint32,
    relative_seq=np.uint32,
    relative_ack=np.uint32,
    window=np.uint32,
    has_relative_seq=np.bool_,
    has_relative_ack=np.bool_,
)
NO_ROW = 0xFFFFFFFF
"""Stands for null in `connection`, `flow`, `source_address`, `destination_address`."""


def packet_columns(count: int) -> PacketColumns:
    """Make room for `count` packets."""
    return PacketColumns(*(np.empty(count, kind) for kind in PACKET_TYPES))


@kernel
def relative(number, side):
    """A sequence number counted from the side's ISN (SYN = 0); or from the first number seen (= 1) where no SYN was."""
    return (np.int64(number) - np.int64(side.isn)) if side.has_isn else (np.int64(number) - np.int64(side.base) + 1)


@kernel
def finish_packets(state, packets, out):
    """Write packets as columns, with what their conversations know by now."""
    for i in range(packets.size):
        packet = packets[i]
        out.t_ns[i] = packet.t_ns
        out.capture[i] = packet.capture
        out.captured[i] = packet.captured
        out.original[i] = packet.original
        out.vlan[i] = packet.vlan
        out.ip_version[i] = packet.ip_version
        out.protocol[i] = packet.protocol
        out.ip_id[i] = packet.ip_id
        out.ttl[i] = packet.ttl
        out.source_port[i] = packet.source_port
        out.destination_port[i] = packet.destination_port
        out.flags[i] = packet.flags
        out.seq[i] = packet.seq
        out.ack[i] = packet.ack
        out.timestamp_value[i] = packet.timestamp_value
        out.timestamp_echo[i] = packet.timestamp_echo
        out.sack_blocks[i] = packet.sack_blocks
        out.payload[i] = packet.payload
        out.segment_class[i] = packet.segment_class
        out.retransmission_kind[i] = packet.retransmission_kind
        out.marks[i] = packet.marks
        conversation = packet.conversation
        out.connection[i] = conversation if conversation >= 0 else NO_ROW
        out.flow[i] = -2 - conversation if conversation <= -2 else NO_ROW
        out.direction[i] = 0
        out.relative_seq[i] = 0
        out.relative_ack[i] = 0
        out.has_relative_seq[i] = False
        out.has_relative_ack[i] = False
        out.window[i] = packet.window
        pair_row = packet.pair
        if pair_row < 0:
            out.source_address[i] = NO_ROW
            out.destination_address[i] = NO_ROW
            continue
        pair = state.pairs[pair_row]
        from_high = 1 - np.int64(packet.source_is_low)
        out.source_address[i] = pair.high_address if from_high else pair.low_address
        out.destination_address[i] = pair.low_address if from_high else pair.high_address
        protocol = packet.protocol
        if conversation >= 0 and protocol == TCP:
            connection = state.connections[conversation]
            out.direction[i] = 1 if connection.orig == from_high else 2
            me, peer = state.sides[2 * conversation + from_high], state.sides[2 * conversation + 1 - from_high]
            if me.seen:
                out.relative_seq[i] = relative(packet.seq, me)
                out.has_relative_seq[i] = True
            if peer.seen and packet.flags & 0x10:
                out.relative_ack[i] = relative(packet.ack, peer)
                out.has_relative_ack[i] = True
            if me.window_scale > 0 and peer.window_scale >= 0 and not packet.flags & SYN:
                out.window[i] = np.int64(packet.window) << np.int64(me.window_scale)
        elif conversation <= -2 and state.flows[-2 - conversation].pair == pair_row:
            out.direction[i] = 1 if state.flows[-2 - conversation].orig == from_high else 2
