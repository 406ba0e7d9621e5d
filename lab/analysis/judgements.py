"""From what was remembered of each connection to its row: the judgements, and the counts of both sides.

Runs once, when all packets are through (drop counters stand at a capture's end, and decide what may be claimed).
"""

from __future__ import annotations

import numpy as np

from lab.analysis.columns import (
    ACK_RTT_NS,
    CAPTURE,
    CAPTURE_DUPLICATES,
    CLOSER,
    CONN_STATE,
    DURATION_NS,
    EVIDENCE_LOST,
    FAST_OPEN_OPTION,
    FIRST_PACKET,
    HANDSHAKE,
    ICMP_CODE,
    ICMP_ERRORS,
    ICMP_TYPE,
    IP_VERSION,
    LAST_PACKET,
    NOT_KNOWN,
    ORIG_ADDRESS,
    ORIG_PORT,
    PREVIOUS,
    REASON,
    REORDERED,
    RESET,
    RESET_BY,
    RESET_NS,
    RESP_ADDRESS,
    RESP_PORT,
    SACK,
    SIDE_BYTES,
    SIDE_DUPLICATE_ACKS,
    SIDE_FAST,
    SIDE_FINS,
    SIDE_ISN,
    SIDE_KEEP_ALIVES,
    SIDE_MISSING_BYTES,
    SIDE_MSS,
    SIDE_NEW,
    SIDE_OUT_OF_ORDER,
    SIDE_PACKETS,
    SIDE_PARTIAL,
    SIDE_PROBES,
    SIDE_PURE_ACKS,
    SIDE_RESETS,
    SIDE_RETRANSMISSIONS,
    SIDE_RETRANSMITTED_BYTES,
    SIDE_RTT_MEAN_NS,
    SIDE_RTT_MIN_NS,
    SIDE_RTT_SAMPLES,
    SIDE_SACK,
    SIDE_SPURIOUS,
    SIDE_SUPER_SEGMENTS,
    SIDE_TIMEOUT,
    SIDE_TIMESTAMPS,
    SIDE_WSCALE,
    SIDE_ZERO_WINDOWS,
    START_NS,
    SYN_ACK_RTT_NS,
    SYN_ACKS,
    SYNS,
    TEARDOWN,
    TIME_WAIT,
    TIMESTAMPS,
    VARIANT,
    WINDOW_SCALING,
)  # fmt: skip
from lab.analysis.compiled import inlined, kernel
from lab.analysis.handshake import judge_handshake
from lab.analysis.history import FROM_HIGH, judge_conn_state
from lab.analysis.streams import missing_bytes
from lab.analysis.teardown import judge_teardown

CASE_BIT = 0x20
LETTER_BYTES = np.frombuffer(b"shadfrtgwqi", np.uint8)
RESPONDER_FIRST = ord("^")


@inlined
def write_side(out, place, side, missing):
    """Write one side's counts to its place."""
    unsigned = out.u32
    unsigned[SIDE_PACKETS, place] = side.packets
    unsigned[SIDE_NEW, place] = side.new
    unsigned[SIDE_RETRANSMISSIONS, place] = side.retransmissions
    unsigned[SIDE_PARTIAL, place] = side.partial
    unsigned[SIDE_FAST, place] = side.fast
    unsigned[SIDE_TIMEOUT, place] = side.retransmissions - side.fast
    unsigned[SIDE_SPURIOUS, place] = side.spurious
    unsigned[SIDE_RETRANSMITTED_BYTES, place] = side.retransmitted_bytes
    unsigned[SIDE_OUT_OF_ORDER, place] = side.out_of_order
    unsigned[SIDE_KEEP_ALIVES, place] = side.keep_alives
    unsigned[SIDE_PROBES, place] = side.probes
    unsigned[SIDE_DUPLICATE_ACKS, place] = side.duplicate_acks
    unsigned[SIDE_ZERO_WINDOWS, place] = side.zero_windows
    unsigned[SIDE_SUPER_SEGMENTS, place] = side.super_segments
    unsigned[SIDE_PURE_ACKS, place] = side.pure_acks
    unsigned[SIDE_FINS, place] = side.fins
    unsigned[SIDE_RESETS, place] = side.resets
    unsigned[SIDE_RTT_SAMPLES, place] = side.rtt_samples
    out.i64[SIDE_BYTES, place] = side.bytes
    out.i64[SIDE_MISSING_BYTES, place] = missing
    out.i64[SIDE_ISN, place] = np.int64(side.isn) if side.has_isn else NOT_KNOWN
    out.i64[SIDE_RTT_MIN_NS, place] = side.rtt_min if side.rtt_samples else NOT_KNOWN
    out.i64[SIDE_RTT_MEAN_NS, place] = side.rtt_sum // np.int64(side.rtt_samples) if side.rtt_samples else NOT_KNOWN
    out.i32[SIDE_MSS, place] = np.int64(side.mss) if side.mss else -1
    out.i32[SIDE_WSCALE, place] = side.window_scale
    out.u8[SIDE_SACK, place] = side.sack_permitted
    out.u8[SIDE_TIMESTAMPS, place] = side.timestamps


@kernel
def judge_connections(state, first, count, lossy, out, sides_out):
    """Judge connections `first` to `first + count`; `lossy[capture]` says whether that capture lost packets.

    Each place i of `out` is connection first + i; its sides are places i and count + i of `sides_out`.
    """
    long, unsigned, code = out.i64, out.u32, out.u8
    for i in range(count):
        number = first + i
        connection = state.connections[number]
        pair = state.pairs[connection.pair]
        orig, resp = state.sides[2 * number + connection.orig], state.sides[2 * number + 1 - connection.orig]
        unsigned[ORIG_ADDRESS, i] = pair.high_address if connection.orig else pair.low_address
        unsigned[RESP_ADDRESS, i] = pair.low_address if connection.orig else pair.high_address
        out.u16[ORIG_PORT, i] = pair.high_port if connection.orig else pair.low_port
        out.u16[RESP_PORT, i] = pair.low_port if connection.orig else pair.high_port
        code[IP_VERSION, i] = pair.ip_version
        capture = pair.vantage >> 16
        out.u16[CAPTURE, i] = capture
        long[START_NS, i] = connection.first_t
        long[DURATION_NS, i] = connection.last_t - connection.first_t

        orig_missing, resp_missing = missing_bytes(state, orig, resp), missing_bytes(state, resp, orig)
        evidence_lost = lossy[capture] or (orig_missing > 0) or (resp_missing > 0)
        code[EVIDENCE_LOST, i] = evidence_lost
        code[HANDSHAKE, i], code[REASON, i], code[VARIANT, i] = judge_handshake(connection, orig, resp, evidence_lost)
        teardown, closer, time_wait = judge_teardown(connection, orig, resp, evidence_lost)
        code[TEARDOWN, i], code[CLOSER, i], code[TIME_WAIT, i] = teardown, closer, time_wait
        code[REORDERED, i] = connection.reordered
        code[RESET, i] = connection.rst_kind
        code[RESET_BY, i] = 0 if not connection.rst_kind else (1 if connection.rst_side == connection.orig else 2)
        long[RESET_NS, i] = connection.rst_t if connection.rst_kind else NOT_KNOWN
        code[CONN_STATE, i] = judge_conn_state(connection, orig, resp)

        unsigned[SYNS, i] = orig.syns + resp.syns
        unsigned[SYN_ACKS, i] = orig.syn_acks + resp.syn_acks
        answered = orig.syns and resp.syn_ack_valid
        acknowledged = answered and connection.opened and orig.ack_t
        long[SYN_ACK_RTT_NS, i] = resp.syn_ack_t - orig.syn_t if answered else NOT_KNOWN
        long[ACK_RTT_NS, i] = orig.ack_t - resp.syn_ack_t if acknowledged else NOT_KNOWN
        code[WINDOW_SCALING, i] = orig.window_scale >= 0 and resp.window_scale >= 0
        code[SACK, i] = orig.sack_permitted and resp.sack_permitted
        code[TIMESTAMPS, i] = orig.timestamps and resp.timestamps
        code[FAST_OPEN_OPTION, i] = orig.cookie or resp.cookie
        unsigned[CAPTURE_DUPLICATES, i] = connection.capture_duplicates
        unsigned[ICMP_ERRORS, i] = connection.icmp_errors
        out.i32[ICMP_TYPE, i] = connection.icmp_type if connection.icmp_errors else -1
        out.i32[ICMP_CODE, i] = connection.icmp_code if connection.icmp_errors else -1
        long[FIRST_PACKET, i] = connection.first_packet
        long[LAST_PACKET, i] = connection.last_packet
        out.i32[PREVIOUS, i] = connection.previous
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
        length = np.int64(0)
        for k in range(np.int64(connection.history_length)):
            letter = np.int64(connection.history[k])
            by_originator = (letter & FROM_HIGH != 0) == (connection.orig != 0)
            if k == 0 and not by_originator:
                text[length] = RESPONDER_FIRST
                length += 1
            text[length] = LETTER_BYTES[letter & 0x7F] - (CASE_BIT if by_originator else 0)
            length += 1
        hashed = np.uint64(14695981039346656037)
        for k in range(length):
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
