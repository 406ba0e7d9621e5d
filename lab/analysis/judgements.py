"""From what was remembered of each connection to its row: the judgements, and the counts of both sides.

Runs once, when all packets are through (drop counters stand at a capture's end, and decide what may be claimed). The
second loop gives each packet what only its connection's end could tell: direction, relative numbers, scaled window.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.columns import NO_ROW, NOT_KNOWN
from lab.analysis.compiled import kernel
from lab.analysis.handshake import judge_handshake
from lab.analysis.history import FROM_HIGH, judge_conn_state
from lab.analysis.streams import missing_bytes
from lab.analysis.teardown import judge_teardown
from lab.analysis.words import SYN, TCP

CASE_BIT = 0x20
LETTER_BYTES = np.frombuffer(b"shadfrtgwqi", np.uint8)


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
