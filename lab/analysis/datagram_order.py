"""Loss, duplication, reordering and jitter of numbered datagrams at one point, and between two. Pure.

A point is a place on a datagram's way where somebody notes it: the sending program's calls, a capture, the receiving
program's calls. What it saw is a list of numbers in the order they came there, with times.

    duplicated   a number that came before
    reordered    RFC 4737 3.3: a first copy whose number is below the highest that came before it. What overtook is in
                 order; what was overtaken is reordered. Copies are left out (RFC 4737 3.2 asks for one per number)
    extent       RFC 4737 4.2.1: of a reordered datagram, how many places behind the earliest with a higher number it
                 came: so many datagrams a receiver must keep to put all in order
    missing      numbers between the lowest and the highest that never came: RFC 3550 A.3's expected less received;
                 what one point alone can tell, and blind at both ends of the series
    jitter       RFC 3550 6.4.1 in ns: J += (|D| - J) / 16 with every first copy in the order they came, where D is the
                 change of (time here - time sent). A constant offset between two clocks has no part in it
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
GAIN = 16
"""RFC 3550's smoothing: each new difference counts for a sixteenth."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one point saw of a stream."""

    numbers: Ints
    t_ns: Ints
    """When each came there, in the order they came."""

    @classmethod
    def of(cls, numbers: npt.ArrayLike, t_ns: npt.ArrayLike) -> Seen:
        """Make it of any two sequences."""
        return cls(numbers=np.asarray(numbers, np.int64), t_ns=np.asarray(t_ns, np.int64))

    def first_copies(self) -> Seen:
        """Return the first of each number, in the order they came."""
        _, places = np.unique(self.numbers, return_index=True)
        places.sort()
        return Seen(numbers=self.numbers[places], t_ns=self.t_ns[places])


@dataclass(frozen=True, kw_only=True)
class Order:
    """What can be said of one point by itself."""

    datagrams: int
    distinct: int
    missing: int
    reordered: int
    extent: int
    """The largest of all; 0 without reordering."""

    @property
    def duplicated(self) -> int:
        return self.datagrams - self.distinct


def order(seen: Seen) -> Order:
    """Count what one point saw."""
    numbers = seen.first_copies().numbers
    if not len(numbers):
        return Order(datagrams=0, distinct=0, missing=0, reordered=0, extent=0)
    highest = np.maximum.accumulate(numbers)
    late = np.flatnonzero(numbers < highest)
    # The highest so far never falls, so the earliest place above a number is found by halving.
    earliest = np.searchsorted(highest, numbers[late], side="right")
    return Order(
        datagrams=len(seen.numbers),
        distinct=len(numbers),
        missing=int(highest[-1] - numbers.min() + 1) - len(numbers),
        reordered=len(late),
        extent=int((late - earliest).max(initial=0)),
    )


def lost(before: Seen, after: Seen) -> int:
    """Count the numbers that one point saw and a later one did not."""
    return int((~np.isin(np.unique(before.numbers), after.numbers)).sum())


def jitter(sent: Seen, came: Seen) -> tuple[int, int] | None:
    """Return RFC 3550's jitter after the last datagram, and the most it was, in ns; None for fewer than two.

    `sent` tells when each number was sent; what it does not know is left out.
    """
    first, start = came.first_copies(), sent.first_copies()
    sorted_places = np.argsort(start.numbers)
    places = np.searchsorted(start.numbers[sorted_places], first.numbers)
    places = np.minimum(places, max(len(start.numbers) - 1, 0))
    if not len(start.numbers):
        return None
    chosen = sorted_places[places]
    known = start.numbers[chosen] == first.numbers
    transit = (first.t_ns - start.t_ns[chosen])[known]
    if len(transit) < 2:
        return None
    now = most = 0.0
    for difference in np.abs(np.diff(transit)).tolist():
        now += (difference - now) / GAIN
        most = max(most, now)
    return round(now), round(most)
