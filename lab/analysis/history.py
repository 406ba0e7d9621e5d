"""Zeek's words for a connection, so that people can compare: the `history` string and `conn_state`.

History has one letter an event, upper case for the originator: s SYN, h SYN-ACK, a acknowledgement alone, d data, f
FIN, r RST, t retransmitted data, g gap (acknowledged data never seen), w zero window, q SYN together with FIN or RST,
i FIN together with RST. A letter comes once a side, t g w again at the 10th, 100th, ... time.

conn_state: S0 no answer; REJ refused; S1 established, not ended; SF opened and closed orderly; S2, S3 only the
originator (the responder) sent FIN; RSTO, RSTR ended by its RST; RSTOS0 a SYN and then the originator's RST; RSTRH
SYN-ACK and then the responder's RST, no SYN seen; SH, SHR the same with FIN; OTH no SYN seen.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.state import HISTORY_LETTERS
from lab.analysis.words import (
    ACK,
    BY_ORIG,
    BY_RESP,
    FIN,
    NONE,
    OTH,
    OUT_OF_WINDOW,
    REFUSE,
    REJ,
    RST,
    RSTO,
    RSTOS0,
    RSTR,
    RSTRH,
    S0,
    S1,
    S2,
    S3,
    SF,
    SH,
    SHR,
    SYN,
)

LETTERS = "shadfrtgwqi"
# Typed, so that a function is compiled once for all letters and not anew for each (a plain number is its own type).
LETTER_S, LETTER_H, LETTER_A, LETTER_D, LETTER_F, LETTER_R, LETTER_T, LETTER_G, LETTER_W, LETTER_Q, LETTER_I = (
    np.int64(place) for place in range(11)
)
FROM_HIGH = 0x80


@inlined
def write_letter(connection, from_high, letter):
    """Append a letter; which case it gets is decided at the end, when the originator is certain."""
    if connection.history_length < HISTORY_LETTERS:
        connection.history[connection.history_length] = letter | (FROM_HIGH if from_high else 0)
        connection.history_length += 1


@inlined
def write_once(connection, side, from_high, letter):
    """Append a letter unless this side has it already."""
    if not side.letters >> letter & 1:
        side.letters |= 1 << letter
        write_letter(connection, from_high, letter)


@inlined
def write_at_powers_of_ten(connection, from_high, letter, times):
    """Append a letter for an event that came the `times`-th time if that is 1, 10, 100, ..."""
    while times >= 10 and times % 10 == 0:
        times //= 10
    if times == 1:
        write_letter(connection, from_high, letter)


@inlined
def note_flags(connection, side, from_high, flags, payload):
    """Write the letters that a segment's flags and length stand for."""
    if flags & SYN:
        if flags & (FIN | RST):
            write_once(connection, side, from_high, LETTER_Q)
        write_once(connection, side, from_high, LETTER_H if flags & ACK else LETTER_S)
    if payload and not flags & RST:
        write_once(connection, side, from_high, LETTER_D)
    if flags & FIN and not flags & SYN:
        write_once(connection, side, from_high, LETTER_I if flags & RST else LETTER_F)
    elif flags & RST and not flags & SYN:
        write_once(connection, side, from_high, LETTER_R)
    if flags & ACK and not payload and not flags & (SYN | FIN | RST):
        write_once(connection, side, from_high, LETTER_A)


@inlined
def judge_conn_state(connection, orig, resp):
    """Zeek's `conn_state` of a connection with its two sides."""
    reset_by = NONE
    if connection.rst_kind and connection.rst_kind != OUT_OF_WINDOW:
        reset_by = BY_ORIG if connection.rst_side == connection.orig else BY_RESP
    if orig.syns == 0 and resp.syn_acks == 0 and orig.syn_acks == 0:
        return OTH
    if orig.syns == 0:  # only the answer was seen
        if reset_by == BY_RESP:
            return RSTRH
        return SHR if resp.has_fin else OTH
    if connection.rst_kind == REFUSE:
        return REJ
    answered = resp.syn_acks > 0 or (resp.syns > 0 and connection.opened)
    if not answered:
        if reset_by == BY_ORIG:
            return RSTOS0
        if reset_by == BY_RESP:
            return REJ
        if orig.has_fin:
            return SH
        return OTH if connection.opened or resp.packets else S0
    if orig.has_fin and resp.has_fin and (not reset_by or (orig.acked_fin and resp.acked_fin)):
        return SF
    if reset_by == BY_ORIG:
        return RSTO
    if reset_by == BY_RESP:
        return RSTR
    if orig.has_fin:
        return S2
    return S3 if resp.has_fin else S1
