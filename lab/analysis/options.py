"""TCP options: what a segment's header carries behind its first 20 bytes (RFC 9293 3.1).

`read_options` is called while packets are taken apart, when the header is at hand: timestamps and the number of SACK
blocks go to the packet, what a SYN offers to its work record, from where `take_offer` takes it to the connection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.packet_records import big16, big32
from lab.analysis.state import NO_SCALE

OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_WINDOW_SCALE = 0, 1, 2, 3
OPTION_SACK_PERMITTED, OPTION_SACK, OPTION_TIMESTAMPS, OPTION_FAST_OPEN = 4, 5, 8, 34
LARGEST_SCALE = 14  # RFC 7323 2.3
OFFERS_SACK, OFFERS_TIMESTAMPS, OFFERS_COOKIE = 1, 2, 4


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
def no_options(work):
    """Write that a packet offers nothing."""
    work.mss = work.offers = 0
    work.window_scale = NO_SCALE


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
def read_options(buffer, at, stop, packet, work):
    """Read the options from `at` to `stop`: timestamps (RFC 7323 3.2), the number of SACK blocks (RFC 2018 3), and an
    offer: MSS, window scale, SACK, timestamps, a Fast Open cookie (RFC 7413).
    """
    place, size = next_option(buffer, at, stop)
    while size:
        kind = buffer[place]
        if kind == OPTION_TIMESTAMPS and size == 10:
            packet.timestamp_value = big32(buffer, place + 2)
            packet.timestamp_echo = big32(buffer, place + 6)
            work.offers |= OFFERS_TIMESTAMPS
        elif kind == OPTION_SACK and size >= 10:
            packet.sack_blocks = (size - 2) // 8
        elif kind == OPTION_MSS and size == 4:
            work.mss = big16(buffer, place + 2)
        elif kind == OPTION_WINDOW_SCALE and size == 3:
            work.window_scale = min(np.int64(buffer[place + 2]), LARGEST_SCALE)
        elif kind == OPTION_SACK_PERMITTED:
            work.offers |= OFFERS_SACK
        elif kind == OPTION_FAST_OPEN:
            work.offers |= OFFERS_COOKIE
        place, size = next_option(buffer, place + size, stop)


@inlined
def take_offer(work, side):
    """Take what a SYN or SYN-ACK offers into its side."""
    side.mss = work.mss
    side.window_scale = work.window_scale
    side.sack_permitted = work.offers & OFFERS_SACK != 0
    side.timestamps = work.offers & OFFERS_TIMESTAMPS != 0
    side.cookie = work.offers & OFFERS_COOKIE != 0


@inlined
def read_sacks(buffer, at, captured_end):
    """Read the SACK option of the header at `at` (RFC 2018 3)."""
    stop = at + (buffer[at + 12] >> 4) * 4
    if stop > captured_end:
        return no_sacks()
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
