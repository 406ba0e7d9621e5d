"""The teardown: who closed first, how it went, what a reset meant (RFC 9293 3.6).

    active closer                        passive closer
    FIN                           --->
                                  <---   ACK of that FIN                 fin4: acknowledged before the passive FIN
                                  <---   FIN (fin3: the first that acknowledges the active FIN)
    ACK                           --->                                   active side enters TIME-WAIT

Who was first follows from numbers, not from the order in the file: a FIN that acknowledges the other FIN came second;
two FINs that do not acknowledge one another crossed (`simultaneous`, fig. 13). A segment without FIN counts as sent
before the FIN where its sequence number is not beyond the FIN's.

`half_closed`, `half_open` and `syn_rcvd` are three things: half-closed is one direction ended and the other still
sending; half-open is a connection one side has lost; SYN-RECEIVED is a handshake that waits for its last segment.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.handshake import acknowledges_syn
from lab.analysis.options import LARGEST_SCALE
from lab.analysis.sequence import advanced, distance, within
from lab.analysis.words import (
    ABORT,
    ACK,
    AFTER_CLOSE,
    AFTER_FIN,
    BY_BOTH,
    BY_ORIG,
    BY_RESP,
    FIN,
    FIN3,
    FIN4,
    HALF_CLOSED,
    LAST_ACK_MISSING,
    NONE,
    ON_NONE,
    OPEN_AT_END,
    OUT_OF_WINDOW,
    REFUSE,
    RESET,
    SIMULTANEOUS_CLOSE,
    UNKNOWN_TEARDOWN,
    WITH_DATA,
)


@inlined
def note_fin(me, peer, segment):
    """Take my FIN: where it stands in the stream, and what it acknowledged when it was sent first."""
    fin_seq = advanced(segment.seq, segment.payload)
    if me.has_fin and me.fin_seq != fin_seq:
        return
    me.fins += 1
    if not me.has_fin:
        me.has_fin = 1
        me.fin_seq = fin_seq
        me.fin_ack = segment.ack
        if peer.has_ack and distance(peer.highest_ack, fin_seq) > 0:  # acknowledged earlier in the file than sent
            peer.acked_fin = 1
            if not peer.has_fin:
                peer.acked_fin_plainly = 1
                peer.plain_ack_seq = peer.end
    elif distance(segment.ack, me.fin_ack) < 0:
        me.fin_ack = segment.ack


@inlined
def note_ack_of_fin(me, peer, segment, fresh):
    """See whether my segment acknowledges the other side's FIN, and how; `fresh` octets of it are new."""
    if not peer.has_fin or distance(segment.ack, peer.fin_seq) <= 0:
        return
    me.acked_fin = 1
    if segment.flags & FIN:
        return
    if not me.acked_fin_plainly or distance(segment.seq, me.plain_ack_seq) < 0:
        me.acked_fin_plainly = 1
        me.plain_ack_seq = segment.seq
    if fresh and segment.payload:
        me.sent_after_fin_acked = 1


@inlined
def reset_kind(connection, me, peer, segment):
    """Say what a reset means, by what its sender and the other side had sent before it."""
    answers_syn = peer.syns and segment.flags & ACK and acknowledges_syn(segment.ack, peer)
    if not connection.opened and answers_syn and me.syn_acks == 0 and me.syns == 0:
        return REFUSE
    if peer.seen and segment.seq == peer.last_ack:
        pass  # it answers what the other side sent last, be that number right or not (RFC 9293 3.5.2)
    elif peer.has_ack:
        scale = LARGEST_SCALE
        if me.has_isn and peer.has_isn:
            scale = max(0, peer.window_scale) if me.window_scale >= 0 else 0
        end = advanced(peer.highest_ack, np.int64(peer.window) << scale)
        if not within(segment.seq, np.int64(peer.highest_ack), end):
            return OUT_OF_WINDOW
    elif me.has_isn and not within(segment.seq, np.int64(me.isn), np.int64(me.end)):
        return OUT_OF_WINDOW
    elif peer.syns and not me.seen:
        return OUT_OF_WINDOW  # it answers a SYN, by a wrong number
    if me.has_fin and peer.has_fin and me.acked_fin and peer.acked_fin:
        return AFTER_CLOSE
    if me.has_fin:
        return AFTER_FIN
    return WITH_DATA if segment.payload else ABORT


@inlined
def note_reset(connection, me, peer, segment, side_number):
    """Take a reset: the first that the other side must have believed is the one that counts."""
    connection.rst_packets += 1
    me.resets += 1
    if connection.rst_kind == NONE or connection.rst_kind == OUT_OF_WINDOW:
        kind = reset_kind(connection, me, peer, segment)
        if connection.rst_kind == NONE or kind != OUT_OF_WINDOW:
            connection.rst_kind = kind
            connection.rst_side = side_number
            connection.rst_t = segment.t_ns


@inlined
def covers_fin(ack, side):
    """Whether an acknowledgement number lies beyond the side's FIN."""
    return distance(ack, side.fin_seq) > 0


@inlined
def judge_closer(orig, resp):
    """Say which side closed first: BY_ORIG, BY_RESP, BY_BOTH, or NONE where no FIN was seen."""
    if orig.has_fin and resp.has_fin:
        orig_second, resp_second = covers_fin(orig.fin_ack, resp), covers_fin(resp.fin_ack, orig)
        if orig_second == resp_second:
            return BY_BOTH
        return BY_RESP if orig_second else BY_ORIG
    if orig.has_fin:
        return BY_ORIG
    return BY_RESP if resp.has_fin else NONE


@inlined
def kind_of_close(active, passive):
    """How two FINs went, the active closer being known."""
    if not active.acked_fin:
        return LAST_ACK_MISSING
    if passive.sent_after_fin_acked:
        return HALF_CLOSED
    if passive.acked_fin_plainly and distance(passive.plain_ack_seq, passive.fin_seq) <= 0:
        return FIN4
    return FIN3


@inlined
def judge_teardown(connection, orig, resp, evidence_lost):
    """Say (teardown, active closer, TIME-WAIT).

    A handshake that never completed and saw neither FIN nor reset has nothing to tear down: null. Where evidence was
    lost, or one direction was not seen, a kind that claims an absence is unknown.
    """
    one_sided = orig.packets == 0 or resp.packets == 0
    blind = evidence_lost or one_sided
    closer = judge_closer(orig, resp)
    if connection.rst_kind not in (NONE, OUT_OF_WINDOW, AFTER_CLOSE):
        return RESET, closer, ON_NONE
    if closer == NONE:
        open_or_never = OPEN_AT_END if connection.opened or (orig.syns == 0 and resp.syn_acks == 0) else NONE
        if open_or_never and evidence_lost:
            open_or_never = UNKNOWN_TEARDOWN
        return open_or_never, NONE, NONE
    if not (orig.has_fin and resp.has_fin):
        if blind:
            return UNKNOWN_TEARDOWN, NONE if one_sided else closer, NONE
        return HALF_CLOSED, closer, NONE
    if closer == BY_BOTH:
        if orig.acked_fin and resp.acked_fin:
            return SIMULTANEOUS_CLOSE, closer, BY_BOTH
        return (UNKNOWN_TEARDOWN if blind else LAST_ACK_MISSING), closer, NONE
    kind = kind_of_close(orig, resp) if closer == BY_ORIG else kind_of_close(resp, orig)
    if kind == LAST_ACK_MISSING:
        return (UNKNOWN_TEARDOWN if blind else kind), closer, NONE
    return kind, closer, closer
