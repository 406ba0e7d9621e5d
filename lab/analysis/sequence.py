"""TCP's sequence numbers: all arithmetic is modulo 2^32 (RFC 9293 3.4).

Numbers are int64 in 0..2^32-1. There is no order on a circle, only a signed distance that is right while two numbers
lie less than 2^31 apart, as all live sequence numbers of one connection do.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined

MODULUS = 1 << 32
HALF = 1 << 31
LARGEST_WINDOW = 1 << 30  # RFC 7323 2.3: 65535 << 14


@inlined
def distance(a, b):
    """How far `a` lies beyond `b`: positive after it, negative before it."""
    return ((np.int64(a) - np.int64(b) + HALF) & (MODULUS - 1)) - HALF


@inlined
def advanced(a, n):
    """The number `n` places after `a`."""
    return (np.int64(a) + np.int64(n)) & (MODULUS - 1)


@inlined
def within(a, low, high):
    """Whether `a` lies in [low, high]."""
    return distance(a, low) >= 0 and distance(a, high) <= 0
