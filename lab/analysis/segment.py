"""One TCP segment as the rules of handshake, stream and teardown see it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.sequence import advanced, distance


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
