"""The handshake: when it is complete, and why it is not (RFC 9293 3.5).

    A                                    B
    SYN, seq = A                  --->
                                  <---   SYN-ACK, seq = B, ack = A+1     (A+1+len with the data of a Fast Open SYN)
    ACK, seq in [A+1, A's end],   --->
         ack in [B+1, B's end]                                           complete; it may carry data or FIN

Flags alone decide nothing: what counts is which number acknowledges what. Each side therefore collects facts (its
ISN, whether it acknowledged the other's SYN, by which kind of segment), in whatever order the file has the segments,
and `settle` looks whether they add up:

- `three_way`, and `fast_open` when the data of the SYN were acknowledged with it;
- `simultaneous` (fig. 7): both sent a bare SYN, and both answer it by a SYN-ACK;
- `split`: B sends a bare SYN too, but acknowledges A's SYN by a segment without SYN: 4 or 5 segments.

What never completes has one reason: the first in `judge` that holds.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.segment import after_syn
from lab.analysis.sequence import advanced, distance, within
from lab.analysis.words import (
    ACK,
    BAD_ACK,
    COMPLETE,
    FAST_OPEN,
    ICMP_ERROR,
    INCOMPLETE,
    MIDSTREAM,
    NO_ANSWER,
    NONE,
    ONE_SIDED,
    REFUSE,
    REFUSED,
    RESET_IN_SYN_RCVD,
    SIMULTANEOUS_OPEN,
    SPLIT,
    SYN,
    SYN_ABORTED,
    SYN_RCVD,
    THREE_WAY,
    UNKNOWN_HANDSHAKE,
)


@inlined
def acknowledges_syn(ack, side):
    """Whether a SYN-ACK with this number answers the side's SYN: ISN + 1, or with the data of the SYN on top."""
    return ack == advanced(side.isn, 1) or (side.syn_payload > 0 and ack == after_syn(side))


@inlined
def check_syn_ack(me, peer):
    """Decide about my SYN-ACK once the other's SYN is known, whichever came first in the file."""
    if me.syn_acks and peer.syns and not me.syn_ack_valid:
        if acknowledges_syn(np.int64(me.syn_ack_number), peer):
            me.syn_ack_valid = 1
            me.acked_syn = 1
        else:
            me.bad_acks += 1


@inlined
def note_handshake(connection, me, peer, segment):
    """Take one segment of `me` into the facts of the handshake, and see whether it is complete by it.

    Comes after the segment entered the stream, so that `me.end` already covers it; resets do not come here.
    """
    if segment.flags & SYN:
        if segment.flags & ACK:
            if me.syn_acks == 0:
                me.syn_ack_t = segment.t_ns
            me.syn_acks += 1
            if not me.syn_ack_valid:
                me.syn_ack_number = segment.ack
                check_syn_ack(me, peer)
                if me.syn_ack_valid:
                    me.syn_ack_t = segment.t_ns
        else:
            if me.syns == 0:
                me.syn_t = segment.t_ns
                if peer.syn_acks or peer.has_early or me.has_early:
                    connection.reordered = 1
            me.syns += 1
            check_syn_ack(peer, me)
        check_early(connection, me, peer)
        check_early(connection, peer, me)
    elif segment.flags & ACK:
        if not peer.has_isn or not me.has_isn:
            if not me.has_early:
                me.has_early = 1
                me.early_seq = segment.seq
                me.early_ack = segment.ack
                me.early_t = segment.t_ns
            if peer.syns and segment.ack == advanced(peer.isn, 1) and not me.has_isn:
                me.acked_syn = 1  # a split handshake's first answer
                me.acked_syn_plainly = 1
        else:
            note_ack(me, peer, segment.seq, segment.ack, segment.t_ns)
    settle(connection, me, peer)


@inlined
def note_ack(me, peer, seq, ack, t_ns):
    """Judge an acknowledgement without SYN when both ISNs are known."""
    sent_end = np.int64(me.end)
    if within(seq, advanced(me.isn, 1), sent_end) and within(ack, advanced(peer.isn, 1), np.int64(peer.end)):
        if not me.acked_syn_plainly:
            me.ack_t = t_ns
        me.acked_syn = 1
        me.acked_syn_plainly = 1
    else:
        me.bad_acks += 1


@inlined
def check_early(connection, me, peer):
    """Judge my acknowledgement that stood in the file before the SYN it answers."""
    if me.has_early and me.has_isn and peer.has_isn and not me.acked_syn_plainly:
        seq, ack = np.int64(me.early_seq), np.int64(me.early_ack)
        if distance(seq, advanced(me.isn, 1)) >= 0 and within(ack, advanced(peer.isn, 1), np.int64(peer.end)):
            me.acked_syn = 1
            me.acked_syn_plainly = 1
            me.ack_t = me.early_t
            connection.reordered = 1


@inlined
def settle(connection, me, peer):
    """See whether the facts make a complete handshake."""
    three_way = (me.syns and peer.syn_ack_valid and me.acked_syn_plainly) or (
        peer.syns and me.syn_ack_valid and peer.acked_syn_plainly
    )
    both_opened = me.syns and peer.syns and me.acked_syn and peer.acked_syn
    if three_way or both_opened:
        connection.opened = 1


@inlined
def variant(connection, orig, resp):
    """How a complete handshake went."""
    if not connection.opened:
        return NONE
    if orig.syns and resp.syns:
        return SIMULTANEOUS_OPEN if orig.syn_ack_valid and resp.syn_ack_valid else SPLIT
    if orig.syn_payload and np.int64(resp.syn_ack_number) == after_syn(orig):
        return FAST_OPEN
    return THREE_WAY


@inlined
def reason(connection, orig, resp):
    """Why a handshake is not complete: the first of these that holds."""
    if orig.syns == 0 and resp.syn_acks == 0 and orig.syn_acks == 0:
        return MIDSTREAM
    if connection.rst_kind == REFUSE:
        return REFUSED
    if resp.packets == 0 and orig.packets > orig.syns + orig.resets:
        return ONE_SIDED  # it answered something that was not seen
    if orig.packets == 0:
        return ONE_SIDED  # only answers were seen
    if orig.syns == 0:
        return MIDSTREAM  # the capture began after the SYN
    if resp.bad_acks or (orig.bad_acks and resp.syn_acks):
        return BAD_ACK
    if resp.syn_acks or resp.syns:
        return RESET_IN_SYN_RCVD if connection.rst_packets else SYN_RCVD
    if connection.icmp_errors:
        return ICMP_ERROR
    if orig.resets:
        return SYN_ABORTED
    if resp.packets == 0:
        return NO_ANSWER
    return BAD_ACK  # what came back answers nothing: a RST with a wrong number, or an ACK of another connection


@inlined
def judge_handshake(connection, orig, resp, evidence_lost):
    """Say (handshake, reason, variant). Where evidence was lost, a reason that claims an absence makes it unknown."""
    if connection.opened:
        return COMPLETE, NONE, variant(connection, orig, resp)
    why = reason(connection, orig, resp)
    claims_absence = why in (NO_ANSWER, SYN_RCVD, ONE_SIDED, SYN_ABORTED)
    if evidence_lost and claims_absence:
        return UNKNOWN_HANDSHAKE, why, NONE
    return INCOMPLETE, why, NONE
