"""How the lab numbers its datagrams, so that each is known again whatever is lost, doubled or overtaken on its way.

A fleet's datagram begins with `HEAD`: its number in its flow, from 0 without gaps, and when it was sent, ns of
CLOCK_MONOTONIC. A script's begins with `NUMBER_DIGITS` decimal digits. Both ends and the analysis read numbers here.
"""

from __future__ import annotations

import struct

HEAD = struct.Struct("!QQ")
NUMBER_DIGITS = 8
MOST = 1 << 40
"""Above every number: eight bytes that are no number of ours, letters for one, are larger."""


def number_of(datagram: bytes | memoryview) -> int | None:
    """Return the number that a datagram carries; None where it carries none."""
    start = bytes(datagram[:NUMBER_DIGITS])
    if len(start) == NUMBER_DIGITS and start.isdigit():
        return int(start)
    if len(datagram) < HEAD.size:
        return None
    number: int = HEAD.unpack_from(datagram)[0]
    return number if number < MOST else None
