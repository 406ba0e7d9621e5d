"""The two byte streams of a connection: what each segment brings, and what its acknowledgement tells.

Each segment that takes sequence space falls into one class:

- `new`: at or above the highest end seen from that side. If it leaves a hole, the hole is remembered.
- `retransmission`: its whole interval was seen before; `partial` if it brings new octets too.
- `out_of_order`: below the highest end, but not seen before: it fills a hole. At the sender's own vantage this cannot
  be loss.
- `keep_alive`: at most one octet at end - 1, with everything acknowledged (RFC 9293 3.8.4).
- `zero_window_probe`: at most one octet at end - 1 or end while the other side's window is zero (RFC 9293 3.8.6.1).

A retransmission is `fast` after three duplicate acknowledgements (RFC 5681 3.2) until what was then outstanding is
acknowledged, otherwise `timeout`; it is `spurious` where its interval was acknowledged already, or is later reported
received twice (RFC 2883). Round trips: one segment a side is timed at once, never a retransmitted one (RFC 6298 3,
Karn).
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.history import LETTER_G, LETTER_T, LETTER_W, write_at_powers_of_ten
from lab.analysis.segment import is_duplicate_report
from lab.analysis.sequence import LARGEST_WINDOW, advanced, distance, within
from lab.analysis.state import FREE_GAP, GAPS, RETRANSMISSIONS
from lab.analysis.words import (
    DUPLICATE_ACK,
    FAST,
    FIN,
    KEEP_ALIVE,
    KEEP_ALIVE_ACK,
    NEW,
    NONE,
    OUT_OF_ORDER,
    PARTIAL,
    RETRANSMISSION,
    RST,
    SPURIOUS,
    SUPER_SEGMENT,
    SYN,
    TIMEOUT,
    UNSCALED,
    ZERO_WINDOW,
    ZERO_WINDOW_PROBE,
)

MOST_GAPS = 256
"""Holes remembered a side: a stream with more is too damaged to tell, and this bounds a packet's work."""
FAST_AFTER = 3
REMEMBERED_RETRANSMISSIONS = 16
"""How far back a duplicate report is looked up."""
DEFAULT_MSS_IPV4, DEFAULT_MSS_IPV6 = 536, 1220  # RFC 9293 3.7.1


@inlined
def take_gap(state):
    """A fresh place in `gaps`."""
    place = np.int64(state.counts[FREE_GAP])
    if place >= 0:
        state.counts[FREE_GAP] = state.gaps[place].next
        return place
    place = state.counts[GAPS]
    state.counts[GAPS] = place + 1
    return place


@inlined
def free_gap(state, place):
    """Give a place back."""
    state.gaps[place].next = state.counts[FREE_GAP]
    state.counts[FREE_GAP] = place


@inlined
def add_gap(state, side, start, end):
    """Remember that [start, end) of the side's stream was not seen; it lies above or below every other hole."""
    if side.gaps >= MOST_GAPS:
        return
    fresh = take_gap(state)
    gap = state.gaps[fresh]
    gap.start = start
    gap.end = end
    gap.next = -1
    side.gaps += 1
    at = np.int64(side.gap)
    if at < 0 or distance(state.gaps[at].start, end) >= 0:
        gap.next = at
        side.gap = fresh
        return
    while state.gaps[at].next >= 0:
        at = np.int64(state.gaps[at].next)
    state.gaps[at].next = fresh


@inlined
def fill_gaps(state, side, start, end):
    """Take [start, end) out of the side's holes; returns how many octets of it were in holes."""
    filled = 0
    before = np.int64(-1)
    at = np.int64(side.gap)
    while at >= 0:
        gap = state.gaps[at]
        following = np.int64(gap.next)
        if distance(gap.start, end) >= 0:
            break
        low = gap.start if distance(gap.start, start) >= 0 else start
        high = gap.end if distance(gap.end, end) <= 0 else end
        overlap = distance(high, low)
        if overlap > 0:
            filled += overlap
            keeps_head, keeps_tail = distance(low, gap.start) > 0, distance(gap.end, high) > 0
            if keeps_head and keeps_tail:
                tail = take_gap(state)
                state.gaps[tail].start = high
                state.gaps[tail].end = gap.end
                state.gaps[tail].next = following
                gap.next = tail
                gap.end = low
                side.gaps += 1
                break
            if keeps_head:
                gap.end = low
            elif keeps_tail:
                gap.start = high
            else:
                if before < 0:
                    side.gap = following
                else:
                    state.gaps[before].next = following
                free_gap(state, at)
                side.gaps -= 1
                at = following
                continue
        before = at
        at = following
    return filled


@inlined
def classify(state, me, peer, segment, length):
    """Say which class a segment of `length` octets (SYN and FIN counted) falls into.

    Returns (class, octets of it not seen before). Enters it into the stream; keep-alives and probes change nothing
    there.
    """
    start, end = segment.seq, advanced(segment.seq, length)
    if not me.seen:
        me.seen = 1
        me.base = start
        me.end = end
        return (NEW if length else NONE), length
    ahead = distance(start, me.end)
    if ahead > LARGEST_WINDOW or ahead < -LARGEST_WINDOW:
        return NONE, 0  # no window reaches there: not of this stream
    bare = length == segment.payload and length <= 1  # neither SYN nor FIN
    if bare and ahead == -1 and not me.has_fin and distance(me.base, start) <= 0:
        if peer.has_ack and peer.window == 0:
            return ZERO_WINDOW_PROBE, 0
        sent_data = distance(me.end, advanced(me.isn, 1)) > 0 or not me.has_isn
        all_acknowledged = not peer.seen or (peer.has_ack and peer.highest_ack == me.end)
        if sent_data and all_acknowledged:
            return KEEP_ALIVE, 0
    if length == 0:
        return NONE, 0
    if length == 1 and bare and ahead == 0 and peer.has_ack and peer.window == 0:
        me.end = end
        return ZERO_WINDOW_PROBE, 1
    if ahead >= 0:
        if ahead > 0:
            add_gap(state, me, np.int64(me.end), start)
        me.end = end
        return NEW, length
    fresh = 0
    below = distance(me.base, start)
    if below > 0:  # before the first segment seen: a capture that began in the middle
        fresh += min(below, length)
        if distance(me.base, end) > 0:
            add_gap(state, me, end, np.int64(me.base))
        me.base = start
    above = distance(end, me.end)
    if above > 0:
        fresh += above
    fresh += fill_gaps(state, me, start, end)
    if above > 0:
        me.end = end
    return (OUT_OF_ORDER if fresh == length else RETRANSMISSION), fresh


@inlined
def count_class(state, packet, connection, me, peer, segment, length, from_high):
    """Classify a segment, and count it for its side and in the packets' columns; returns the octets not seen before."""
    kind, fresh = classify(state, me, peer, segment, length)
    packet.segment_class = kind
    if kind == NEW:
        me.new += 1
        me.acked_keep_alive = 1
        if not me.timing and not me.recovering:
            me.timing = 1
            me.timed_end = me.end
            me.timed_t = segment.t_ns
    elif kind == RETRANSMISSION:
        me.retransmissions += 1
        me.retransmitted_bytes += length - fresh
        if fresh:
            me.partial += 1
            packet.marks |= PARTIAL
        count_retransmission(state, packet, me, peer, segment, length)
        if segment.payload:
            write_at_powers_of_ten(connection, from_high, LETTER_T, np.int64(me.retransmissions))
    elif kind == OUT_OF_ORDER:
        me.out_of_order += 1
    elif kind == KEEP_ALIVE:
        me.keep_alives += 1
        me.acked_keep_alive = 0
    elif kind == ZERO_WINDOW_PROBE:
        me.probes += 1
        me.acked_keep_alive = 0
    return fresh


@inlined
def count_retransmission(state, packet, me, peer, segment, length):
    """Tell fast from timeout, and spurious where that is certain already; log it for duplicate reports to come."""
    start, end = segment.seq, advanced(segment.seq, length)
    me.timing = 0  # Karn: an acknowledgement from here on may be for either copy
    if me.recovering and peer.has_ack and distance(peer.highest_ack, me.recover) >= 0:
        me.recovering = 0
    if not me.recovering and peer.duplicate_run >= FAST_AFTER:
        me.recovering = 1
        me.recover = me.end
    kind = FAST if me.recovering else TIMEOUT
    if kind == FAST:
        me.fast += 1
    packet.retransmission_kind = kind
    spurious = peer.has_ack and distance(end, peer.highest_ack) <= 0
    if spurious:
        me.spurious += 1
        packet.marks |= SPURIOUS
    place = state.counts[RETRANSMISSIONS]
    state.counts[RETRANSMISSIONS] = place + 1
    entry = state.retransmissions[place]
    entry.packet = segment.packet
    entry.start = start
    entry.end = end
    entry.previous = me.last_retransmission
    entry.spurious = 1 if spurious else 0
    me.last_retransmission = place


@inlined
def note_duplicate_report(state, peer, sacks):
    """Mark the retransmission whose octets the other side says it received twice."""
    place = np.int64(peer.last_retransmission)
    for _ in range(REMEMBERED_RETRANSMISSIONS):
        if place < 0:
            return
        entry = state.retransmissions[place]
        if distance(entry.start, sacks.right) < 0 and distance(entry.end, sacks.left) > 0:
            if not entry.spurious:
                entry.spurious = 1
                peer.spurious += 1
            return
        place = np.int64(entry.previous)


@inlined
def note_acknowledgement(state, packet, connection, me, peer, segment, sacks, from_high):
    """Take the acknowledgement and the window of my segment: progress, duplicates, round trips, zero windows."""
    if sacks.blocks and is_duplicate_report(sacks, segment.ack):
        note_duplicate_report(state, peer, sacks)
    sack_news = sacks.blocks > 0 and (not me.duplicate_run or distance(sacks.right, me.sack_edge) > 0)
    if sacks.blocks:
        me.sack_edge = sacks.right
    progress = distance(segment.ack, me.highest_ack) if me.has_ack else np.int64(1)
    if progress > LARGEST_WINDOW:
        progress = np.int64(0)
    if not connection.opened and peer.has_isn and not within(segment.ack, np.int64(peer.isn), np.int64(peer.end)):
        return  # nothing was sent there: a wrong number, not progress
    bare = segment.payload == 0 and not segment.flags & (SYN | FIN | RST)
    if progress > 0:
        me.has_ack = 1
        me.highest_ack = segment.ack
        me.duplicate_run = 0
        if peer.timing and distance(segment.ack, peer.timed_end) >= 0:
            peer.timing = 0
            take_round_trip(peer, segment.t_ns - peer.timed_t)
        if peer.recovering and distance(segment.ack, peer.recover) >= 0:
            peer.recovering = 0
        note_gap(state, connection, peer, segment.ack, from_high)
    elif progress == 0 and bare:
        if (peer.keep_alives or peer.probes) and not peer.acked_keep_alive:
            peer.acked_keep_alive = 1
            packet.marks |= KEEP_ALIVE_ACK
        else:
            outstanding = peer.seen and distance(peer.end, segment.ack) > 0
            unchanged = me.window == segment.window or sack_news
            if outstanding and unchanged and packet.segment_class == NONE:
                me.duplicate_acks += 1
                me.duplicate_run += 1
                packet.marks |= DUPLICATE_ACK
    if progress >= 0:
        me.window = segment.window
    if segment.window == 0 and not segment.flags & (SYN | FIN | RST):
        me.zero_windows += 1
        packet.marks |= ZERO_WINDOW
        if not me.has_isn:
            packet.marks |= UNSCALED
        write_at_powers_of_ten(connection, from_high, LETTER_W, np.int64(me.zero_windows))


@inlined
def take_round_trip(side, rtt):
    """Add one sample of the time between the side's segment and its acknowledgement."""
    if rtt < 0:
        return
    if side.rtt_samples == 0 or rtt < side.rtt_min:
        side.rtt_min = rtt
    side.rtt_samples += 1
    side.rtt_sum += rtt


@inlined
def note_gap(state, connection, peer, ack, from_high):
    """Write the letter for a hole that was just acknowledged: the octets existed, the capture does not have them."""
    if not peer.seen:
        return
    hole = peer.gap >= 0 and distance(ack, state.gaps[peer.gap].start) > 0
    if hole or (distance(ack, peer.end) > 0 and distance(ack, peer.end) <= LARGEST_WINDOW):
        peer.gap_letters += 1
        write_at_powers_of_ten(connection, 1 - from_high, LETTER_G, np.int64(peer.gap_letters))


@inlined
def note_size(packet, me, peer, payload, ip_version):
    """Mark a payload above the other side's MSS: several segments in one, which an offload has not cut yet."""
    if not peer.has_isn:
        return  # its MSS was not seen
    mss = np.int64(peer.mss)
    if mss == 0:
        mss = DEFAULT_MSS_IPV4 if ip_version == 4 else DEFAULT_MSS_IPV6
    if payload > mss:
        me.super_segments += 1
        packet.marks |= SUPER_SEGMENT


@inlined
def missing_bytes(state, side, peer):
    """Octets of the side's stream that the other side acknowledged but the capture never showed."""
    if not side.seen or not peer.has_ack:
        return np.int64(0)
    ack = np.int64(peer.highest_ack)
    missing = np.int64(0)
    at = np.int64(side.gap)
    while at >= 0:
        gap = state.gaps[at]
        if distance(gap.start, ack) >= 0:
            break
        missing += distance(gap.end, gap.start) if distance(gap.end, ack) <= 0 else distance(ack, gap.start)
        at = np.int64(gap.next)
    tail = distance(ack, side.end)
    if 0 < tail <= LARGEST_WINDOW:
        missing += tail
    return missing
