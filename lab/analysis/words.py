"""The words of the analysis and the small numbers that stand for them inside compiled loops.

Each concept (a handshake reason, a kind of teardown, a class of segment) is a tuple of words; its code is the place in
that tuple. Tables show the words only. Code 0 is always "none of them", shown as null.
What each word means is said where it is decided: `handshake.py`, `teardown.py`, `streams.py`, `history.py`.
"""

from __future__ import annotations

# TCP flags as they stand in the header (RFC 9293 3.1, RFC 3168).
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

ORIG, RESP = 0, 1

NONE = 0

HANDSHAKES = ("", "complete", "incomplete", "unknown")
COMPLETE, INCOMPLETE, UNKNOWN_HANDSHAKE = 1, 2, 3

REASONS = (
    "",
    "no_answer",
    "refused",
    "syn_aborted",
    "syn_rcvd",
    "bad_ack",
    "reset_in_syn_rcvd",
    "icmp_error",
    "one_sided",
    "midstream",
)
(
    NO_ANSWER,
    REFUSED,
    SYN_ABORTED,
    SYN_RCVD,
    BAD_ACK,
    RESET_IN_SYN_RCVD,
    ICMP_ERROR,
    ONE_SIDED,
    MIDSTREAM,
) = range(1, 10)

VARIANTS = ("", "three_way", "simultaneous", "split", "fast_open")
THREE_WAY, SIMULTANEOUS_OPEN, SPLIT, FAST_OPEN = range(1, 5)

TEARDOWNS = (
    "",
    "fin4",
    "fin3",
    "simultaneous",
    "half_closed",
    "last_ack_missing",
    "reset",
    "open_at_end",
    "unknown",
)
FIN4, FIN3, SIMULTANEOUS_CLOSE, HALF_CLOSED, LAST_ACK_MISSING, RESET, OPEN_AT_END, UNKNOWN_TEARDOWN = range(1, 9)

RESETS = ("", "refuse", "abort", "abort_unread", "after_fin", "after_close", "with_data", "out_of_window")
REFUSE, ABORT, ABORT_UNREAD, AFTER_FIN, AFTER_CLOSE, WITH_DATA, OUT_OF_WINDOW = range(1, 8)

CLOSERS = ("", "orig", "resp", "both")
BY_ORIG, BY_RESP, BY_BOTH = range(1, 4)

TIME_WAITS = ("", "orig", "resp", "both", "none")
ON_NONE = 4

CONN_STATES = (
    "",
    "S0",
    "S1",
    "SF",
    "REJ",
    "S2",
    "S3",
    "RSTO",
    "RSTR",
    "RSTOS0",
    "RSTRH",
    "SH",
    "SHR",
    "OTH",
)
S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR, OTH = range(1, 14)

SEGMENT_CLASSES = ("", "new", "retransmission", "out_of_order", "keep_alive", "zero_window_probe")
NEW, RETRANSMISSION, OUT_OF_ORDER, KEEP_ALIVE, ZERO_WINDOW_PROBE = range(1, 6)

RETRANSMISSION_KINDS = ("", "fast", "timeout")
FAST, TIMEOUT = 1, 2

DIRECTIONS = ("orig", "resp")

# What else may be true of one packet: bits of the internal `marks` column, shown as one boolean column each.
MARKS = (
    "partial",
    "spurious",
    "duplicate_ack",
    "zero_window",
    "unscaled",
    "super_segment",
    "capture_duplicate",
    "malformed",
    "snapped",
    "fragment",
    "icmp_error",
    "keep_alive_ack",
)
(
    PARTIAL,
    SPURIOUS,
    DUPLICATE_ACK,
    ZERO_WINDOW,
    UNSCALED,
    SUPER_SEGMENT,
    CAPTURE_DUPLICATE,
    MALFORMED,
    SNAPPED,
    FRAGMENT,
    ICMP_ERROR_PACKET,
    KEEP_ALIVE_ACK,
) = (1 << bit for bit in range(12))

# IP protocol numbers (IANA) the analysis looks into.
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
