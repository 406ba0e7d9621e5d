"""Following connections: which incarnation of its 4-tuple a segment belongs to, and what it changes there.

A connection is one incarnation of a 4-tuple at one vantage, opened by a SYN whose initial sequence number differs
from that of the live one; the same SYN again is a retransmission. Grouping by the 4-tuple alone would join what ports
were reused for. A late segment of the incarnation before is recognised by its numbers.

`follow` is the loop over packets. It comes after `packets.dissect` and `endpoints.resolve`, and hands each segment to
the rules in `handshake.py`, `streams.py` and `teardown.py`, and whatever is not TCP to `datagrams.py`.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined, kernel
from lab.analysis.datagrams import follow_flow, follow_icmp_error, is_icmp_error
from lab.analysis.endpoints import live_of, recent_place
from lab.analysis.handshake import note_handshake
from lab.analysis.history import note_flags
from lab.analysis.options import no_sacks, read_sacks, take_offer
from lab.analysis.packet_records import mixed
from lab.analysis.prefetch import prefetch
from lab.analysis.segment import Segment
from lab.analysis.sequence import advanced, distance, within
from lab.analysis.state import (
    CACHE_LINE,
    CONNECTIONS,
    DATAGRAMS,
    FRESH_CONNECTION,
    FRESH_SIDE,
    ORIGINATORS_GIVEN,
)
from lab.analysis.streams import count_class, note_acknowledgement, note_size
from lab.analysis.teardown import note_ack_of_fin, note_fin, note_reset
from lab.analysis.words import (
    ACK,
    CAPTURE_DUPLICATE,
    FIN,
    FRAGMENT,
    NONE,
    OUT_OF_WINDOW,
    RST,
    SYN,
    TCP,
)

AT_ONCE = 64
"""Packets whose connections are asked for before they are followed: their records stay in the nearest cache."""
DUPLICATE_WITHIN_NS = 1_000_000
REORDERED_WITHIN = 1 << 16
"""A SYN after other segments belongs to them if it lies at most a classic window before the first of them."""
NEAR = 1 << 20
"""A segment fits a stream if it lies this near to its end."""


@kernel
def follow(buffer, packets, first, index, count, works, state):
    """Follow `count` packets from `packets[first]`; `index` is the packet index of the first one."""
    for start in range(0, count, AT_ONCE):
        stop = min(count, start + AT_ONCE)
        fetch_ahead(packets, first, works, start, stop, state)
        for i in range(start, stop):
            packet, work = packets[first + i], works[i]
            if packet.ip_version == 0:
                continue
            if packet.marks & FRAGMENT:
                follow_fragment(state, packet, work)
            if packet.pair >= 0 and not is_capture_duplicate(state, packet, work):
                follow_packet(buffer, state, packet, work, index + i)


@inlined
def fetch_ahead(packets, first, works, start, stop, state):
    """Ask memory for what following a few packets touches: they come from many connections in turn."""
    for i in range(start, stop):
        prefetch(state.live, packets[first + i].pair, 0)
        prefetch(state.recent, recent_place(works[i]), 0)
    for i in range(start, stop):
        pair = packets[first + i].pair
        if pair < 0:
            continue
        live = live_of(state, pair)
        prefetch(state.connections, live, 0)
        for line in range(0, 4 * CACHE_LINE, CACHE_LINE):
            prefetch(state.sides, 2 * live, line)
            prefetch(state.sides, 2 * live + 1, line)


@inlined
def follow_packet(buffer, state, packet, work, index):
    """Take one packet, its pair being known, to its connection or flow."""
    at, stop = np.int64(work.transport), np.int64(work.transport_end)
    if is_icmp_error(packet) and follow_icmp_error(buffer, state, packet, index, at, stop, work.vantage):
        return
    if packet.protocol != TCP:
        follow_flow(state, packet, index, work.fragment_offset)
        return
    flags = np.int64(packet.flags)
    if work.more_fragments:
        flags &= ~FIN  # its FIN stands behind the data of the last fragment
    segment = Segment(
        packet=index,
        t_ns=packet.t_ns,
        flags=flags,
        seq=np.int64(packet.seq),
        ack=np.int64(packet.ack),
        window=np.int64(packet.window),
        payload=np.int64(packet.payload),
    )
    follow_segment(buffer, state, packet, work, segment)


@inlined
def is_capture_duplicate(state, packet, work):
    """Whether the same packet (bytes, nonzero IP identification) came at most a millisecond ago: an artefact."""
    digest = work.digest
    if digest == 0:
        return False
    recent = state.recent[recent_place(work)]
    t_ns = packet.t_ns
    if recent.digest == digest and abs(t_ns - recent.t_ns) <= DUPLICATE_WITHIN_NS:
        live = live_of(state, packet.pair)
        packet.marks |= CAPTURE_DUPLICATE
        if live >= 0 and packet.protocol == TCP:
            state.connections[live].capture_duplicates += 1
            packet.conversation = live
        elif live >= 0:
            state.flows[live].capture_duplicates += 1
            packet.conversation = -2 - live
        return True
    recent.digest = digest
    recent.t_ns = t_ns
    return False


@inlined
def follow_fragment(state, packet, work):
    """Remember a first fragment's ports and numbers, and give them to the later fragments of its datagram.

    A later fragment then stands for the part of the segment that it carries. One whose first fragment was not seen
    belongs to nothing.
    """
    key = mixed(work.source_low ^ work.source_high, work.destination_low ^ work.destination_high)
    key = mixed(key, np.uint64(work.fragment_id) << np.uint64(8) | np.uint64(packet.protocol))
    key = mixed(key, np.uint64(work.vantage))
    known = state.datagrams[np.int64(key & np.uint64(DATAGRAMS - 1))]
    offset = np.int64(work.fragment_offset)
    if offset == 0:
        if packet.pair >= 0:
            known.key = key
            known.seq = packet.seq
            known.ack = packet.ack
            known.flags = packet.flags
            known.window = packet.window
            known.source_port = packet.source_port
            known.destination_port = packet.destination_port
            known.pair = packet.pair
            known.source_is_low = packet.source_is_low
            known.header = np.int64(work.transport_length) - np.int64(packet.payload)
        return
    if known.key != key:
        return
    packet.pair = known.pair
    packet.source_is_low = known.source_is_low
    packet.source_port = known.source_port
    packet.destination_port = known.destination_port
    if packet.protocol == TCP:
        packet.seq = advanced(np.int64(known.seq), offset - np.int64(known.header))
        packet.ack = known.ack
        packet.window = known.window
        packet.flags = known.flags & ~SYN


@inlined
def incarnation_of(state, pair_row, from_high, segment):
    """The connection that a segment belongs to; a new one is opened where its numbers say so."""
    live = live_of(state, pair_row)
    if live < 0:
        return open_connection(state, pair_row, from_high, segment)
    connection = state.connections[live]
    me, peer = state.sides[2 * live + from_high], state.sides[2 * live + 1 - from_high]
    if segment.flags & SYN and not segment.flags & RST:
        if segment.flags & ACK:
            fresh = syn_ack_opens(connection, me, peer, segment)
        else:
            fresh = syn_opens(connection, me, peer, segment)
        if fresh:
            return open_connection(state, pair_row, from_high, segment)
        if not segment.flags & ACK and peer.syns == 0:
            connection.orig = from_high  # the SYN came late in the file
        return live
    previous = np.int64(connection.previous)
    if previous >= 0 and not fits(me, peer, segment):
        old_me, old_peer = state.sides[2 * previous + from_high], state.sides[2 * previous + 1 - from_high]
        if old_me.seen and fits(old_me, old_peer, segment):
            return previous
    return live


@inlined
def precedes(isn, side):
    """Whether a SYN with this ISN stands right before what was seen of the side's stream."""
    return within(np.int64(side.base), isn, advanced(isn, REORDERED_WITHIN))


@inlined
def is_over(connection, me, peer):
    """Whether a connection has ended, by reset or by both FINs."""
    reset = connection.rst_kind != NONE and connection.rst_kind != OUT_OF_WINDOW
    return reset or (me.has_fin and peer.has_fin)


@inlined
def syn_opens(connection, me, peer, segment):
    """Whether a SYN without ACK opens a new incarnation."""
    if me.has_isn:
        return segment.seq != me.isn
    if me.seen:
        return not precedes(segment.seq, me)
    if is_over(connection, me, peer) and peer.has_isn and not peer.syn_acks:
        return True
    if peer.syns:
        return connection.opened != 0  # a SYN of each side: a simultaneous open
    # An answer may stand in the file before the question: then it acknowledged this SYN.
    answered = within(np.int64(peer.last_ack), advanced(segment.seq, 1), advanced(segment.seq, REORDERED_WITHIN))
    return not answered


@inlined
def syn_ack_opens(connection, me, peer, segment):
    """Whether a SYN-ACK opens a new incarnation, whose SYN was not seen or stands later in the file."""
    if me.has_isn and segment.seq == me.isn:
        return False
    answers_live = peer.has_isn and within(segment.ack, advanced(peer.isn, 1), np.int64(peer.end))
    if answers_live:
        return False
    if me.has_isn or peer.has_isn:
        return connection.opened != 0 or is_over(connection, me, peer)
    if me.seen and not precedes(segment.seq, me):
        return True
    return peer.seen and not within(np.int64(peer.base), segment.ack, advanced(segment.ack, REORDERED_WITHIN))


@inlined
def fits(me, peer, segment):
    """Whether a segment without SYN may belong to these two streams, by its numbers."""
    if me.seen and abs(distance(segment.seq, me.end)) > NEAR:
        return False
    return not (segment.flags & ACK and peer.seen and abs(distance(segment.ack, peer.end)) > NEAR)


@inlined
def open_connection(state, pair_row, from_high, segment):
    """Start an incarnation; its originator sent the SYN, or received the SYN-ACK, or else sent first."""
    pair = state.pairs[pair_row]
    number = state.counts[CONNECTIONS]
    state.counts[CONNECTIONS] = number + 1
    state.connections[number] = FRESH_CONNECTION[0]
    connection = state.connections[number]
    connection.pair = pair_row
    connection.previous = live_of(state, pair_row)
    connection.first_t = segment.t_ns
    connection.first_packet = segment.packet
    connection.orig = from_high
    if segment.flags & SYN and segment.flags & ACK:
        connection.orig = 1 - from_high
    elif not segment.flags & SYN and state.counts[ORIGINATORS_GIVEN]:
        low, high = state.addresses[pair.low_address].originator, state.addresses[pair.high_address].originator
        if low != high:
            connection.orig = 0 if low else 1
    state.sides[2 * number] = state.sides[2 * number + 1] = FRESH_SIDE[0]
    state.live[pair_row] = number + 1
    return number


@inlined
def follow_segment(buffer, state, packet, work, segment):
    """Take one TCP segment into its connection."""
    at = np.int64(work.transport)
    from_high = 1 - np.int64(packet.source_is_low)
    number = incarnation_of(state, packet.pair, from_high, segment)
    packet.conversation = number
    connection = state.connections[number]
    me, peer = state.sides[2 * number + from_high], state.sides[2 * number + 1 - from_high]
    connection.last_t = segment.t_ns
    connection.last_packet = segment.packet
    me.packets += 1
    note_flags(connection, me, from_high, segment.flags, segment.payload)

    if segment.flags & RST:
        note_reset(connection, me, peer, segment, from_high)
        if segment.flags & ACK:
            me.last_ack = segment.ack
        return

    length = segment.payload
    if segment.flags & SYN:
        length += 1
        if not me.has_isn:
            me.has_isn = 1
            me.isn = segment.seq
            me.syn_payload = segment.payload
            take_offer(work, me)
    if segment.flags & FIN:
        length += 1
    had_fin = me.has_fin
    fresh = count_class(state, packet, connection, me, peer, segment, length, from_high)
    if segment.flags & FIN:
        note_fin(me, peer, segment)
    fresh_bytes = fresh
    if fresh and segment.flags & SYN:
        fresh_bytes -= 1
    if fresh_bytes > 0 and segment.flags & FIN and me.has_fin and not had_fin:
        fresh_bytes -= 1
    me.bytes += max(0, fresh_bytes)
    if segment.payload:
        note_size(packet, me, peer, segment.payload, packet.ip_version)

    if segment.flags & ACK:
        sacks = no_sacks()
        if packet.sack_blocks and at >= 0:
            sacks = read_sacks(buffer, at, np.int64(work.transport_end))
        note_acknowledgement(state, packet, connection, me, peer, segment, sacks, from_high)
        me.last_ack = segment.ack
        note_ack_of_fin(me, peer, segment, fresh_bytes)
        if length == 0:
            me.pure_acks += 1
    if not connection.opened:
        note_handshake(connection, me, peer, segment)
    elif segment.flags & SYN:
        if segment.flags & ACK:
            me.syn_acks += 1
        else:
            me.syns += 1
