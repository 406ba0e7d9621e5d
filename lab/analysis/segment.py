"""One TCP segment as the rules of handshake, stream and teardown see it, and the options a SYN carries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.packet_records import big16, big32
from lab.analysis.sequence import advanced, distance

OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_WINDOW_SCALE = 0, 1, 2, 3
OPTION_SACK_PERMITTED, OPTION_SACK, OPTION_TIMESTAMPS, OPTION_FAST_OPEN = 4, 5, 8, 34
LARGEST_SCALE = 14  # RFC 7323 2.3


class Segment(NamedTuple):
    """What one segment says; sequence numbers and lengths are int64."""

    packet: int
    """The packet's index in its file's analysis."""
    t_ns: int
    flags: int
    seq: int
    ack: int
    window: int
    """As in the header, unscaled."""
    payload: int
    """Bytes of data, by the IP header."""


class Sacks(NamedTuple):
    """The first two blocks of a SACK option: enough to know a duplicate report (RFC 2883) and news."""

    blocks: int
    left: int
    right: int
    second_left: int
    second_right: int


@inlined
def no_sacks():
    """What a segment without the option says."""
    return Sacks(np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0))


@inlined
def next_option(buffer, at, stop):
    """Find the next option from `at`; returns (where it stands, its length), or length 0 at the end or at nonsense."""
    while at + 1 < stop and buffer[at] == OPTION_NOP:
        at += 1
    if at + 1 >= stop or buffer[at] == OPTION_END:
        return at, 0
    size = np.int64(buffer[at + 1])
    if size < 2 or at + size > stop:
        return at, 0
    return at, size


@inlined
def options_end(buffer, at, captured_end):
    """Where the options of the TCP header at `at` end, or -1 if they were not captured whole."""
    stop = at + (buffer[at + 12] >> 4) * 4
    return stop if stop <= captured_end else -1


@inlined
def read_sacks(buffer, at, captured_end):
    """Read the SACK option of the header at `at` (RFC 2018 3)."""
    stop = options_end(buffer, at, captured_end)
    place, size = next_option(buffer, at + 20, stop)
    while size:
        if buffer[place] == OPTION_SACK and size >= 10:
            left, right = big32(buffer, place + 2), big32(buffer, place + 6)
            if size >= 18:
                return Sacks(
                    np.int64((size - 2) // 8), left, right, big32(buffer, place + 10), big32(buffer, place + 14)
                )
            return Sacks(np.int64(1), left, right, np.int64(0), np.int64(0))
        place, size = next_option(buffer, place + size, stop)
    return no_sacks()


@inlined
def read_syn_options(buffer, at, captured_end, side):
    """Take what a SYN or SYN-ACK offers into its side: MSS, window scale, SACK, timestamps, a Fast Open cookie."""
    stop = options_end(buffer, at, captured_end)
    place, size = next_option(buffer, at + 20, stop)
    while size:
        kind = buffer[place]
        if kind == OPTION_MSS and size == 4:
            side.mss = big16(buffer, place + 2)
        elif kind == OPTION_WINDOW_SCALE and size == 3:
            side.window_scale = min(np.int64(buffer[place + 2]), LARGEST_SCALE)
        elif kind == OPTION_SACK_PERMITTED:
            side.sack_permitted = 1
        elif kind == OPTION_TIMESTAMPS and size == 10:
            side.timestamps = 1
        elif kind == OPTION_FAST_OPEN:
            side.cookie = 1
        place, size = next_option(buffer, place + size, stop)


@inlined
def is_duplicate_report(sacks, ack):
    """Whether the first SACK block reports octets received twice: below the ack, or inside the second (RFC 2883 4)."""
    if sacks.blocks == 0:
        return False
    if distance(sacks.right, ack) <= 0:
        return True
    return (
        sacks.blocks > 1
        and distance(sacks.left, sacks.second_left) >= 0
        and distance(sacks.right, sacks.second_right) <= 0
    )


@inlined
def after_syn(side):
    """The number after a side's SYN octet and the data that the SYN carried."""
    return advanced(side.isn, 1 + np.int64(side.syn_payload))
