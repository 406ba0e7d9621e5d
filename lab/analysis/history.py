"""Zeek's words for a connection, so that people can compare: the `history` string and `conn_state`.

History has one letter an event, upper case for the originator: s SYN, h SYN-ACK, a acknowledgement alone, d data, f
FIN, r RST, t retransmitted data, g gap (acknowledged data never seen), w zero window, q SYN together with FIN or RST,
i FIN together with RST. A letter comes once a side, t g w again at the 10th, 100th, ... time. A ^ stands before them
where the responder was seen first.

conn_state: S0 no answer; REJ refused; S1 established, not ended; SF both closed; S2, S3 established and only the
originator (the responder) sent FIN; RSTO, RSTR established and ended by its RST; RSTOS0 a SYN and then the originator's
RST; SH a FIN of the originator's without any part of the responder's in a handshake; RSTRH, SHR the responder's RST or
FIN without any part of the originator's; OTH nothing of that. One takes part in a handshake by a SYN, by a SYN-ACK, and
by what follows a SYN-ACK that was seen. Once both have sent FIN a RST changes nothing.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.state import HISTORY_LETTERS
from lab.analysis.words import (
    ACK,
    FIN,
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
    if orig.has_fin and resp.has_fin:
        return SF
    orig_takes_part = orig.syns > 0 or orig.syn_acks > 0 or (resp.syn_acks > 0 and orig.packets > 0)
    resp_takes_part = resp.syn_acks > 0 or (resp.syns > 0 and connection.opened)
    counts = connection.rst_kind and connection.rst_kind != OUT_OF_WINDOW
    if counts and connection.rst_side == connection.orig:
        if resp_takes_part:
            return RSTO
        return RSTOS0 if orig_takes_part else OTH
    if counts:
        if connection.rst_kind == REFUSE or (orig_takes_part and not resp_takes_part):
            return REJ
        return RSTR if orig_takes_part else RSTRH
    if orig.has_fin:
        return S2 if resp_takes_part else SH
    if resp.has_fin:
        return S3 if orig_takes_part else SHR
    if orig_takes_part and resp_takes_part:
        return S1
    return S0 if orig.syns and not resp.packets else OTH
