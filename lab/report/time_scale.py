"""Where things stand on a vertical axis of time: to scale, long pauses broken, labels pushed apart.

Pure arithmetic, in pixels. The axis is linear within each stretch; a pause too long to draw becomes a break.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

ROW = 26.0
"""The commoner short gaps are drawn about this long."""
LABEL = 20.0
"""Room that a label needs."""
LONGEST = 3.5 * ROW
"""A gap that would be longer is broken."""
BREAK = 56.0
"""Height of a break."""


@dataclass(frozen=True, kw_only=True)
class TimeScale:
    """Places for n moments, in pixels from the first one's."""

    places: tuple[float, ...]
    """Where each moment is."""
    rows: tuple[float, ...]
    """Where each moment's label goes: as near as may be, neighbours at least `LABEL` apart."""
    broken: tuple[int, ...]
    """The axis is broken between moment i and i + 1."""
    ns_per_pixel: float
    """The scale outside the breaks."""


def time_scale(times_ns: Sequence[int], break_after: Sequence[int] = ()) -> TimeScale:
    """Place n moments, at least one. `break_after`: gaps to break whatever their length, for moments left out there."""
    gaps = [later - earlier for earlier, later in pairwise(times_ns)]
    drawn = [gap for place, gap in enumerate(gaps) if gap > 0 and place not in break_after]
    # The first quartile: short gaps get a row each, and only a burst's are closer than their labels.
    usual = drawn[0] if len(drawn) == 1 else quantiles(drawn, n=4)[0] if drawn else 1.0
    ns_per_pixel = max(usual, 1.0) / ROW
    broken = [place for place, gap in enumerate(gaps) if gap / ns_per_pixel > LONGEST or place in break_after]
    places: list[float] = []
    rows: list[float] = []
    for first, last in pairwise([0, *(place + 1 for place in broken), len(times_ns)]):
        stretch = [(moment - times_ns[first]) / ns_per_pixel for moment in times_ns[first:last]]
        spread_out = spread(stretch, LABEL)
        top = max(places[-1], rows[-1]) + BREAK - min(spread_out[0], 0.0) if places else -min(spread_out[0], 0.0)
        places += [top + place for place in stretch]
        rows += [top + row for row in spread_out]
    return TimeScale(places=tuple(places), rows=tuple(rows), broken=tuple(broken), ns_per_pixel=ns_per_pixel)


def spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Move places as little as possible so that neighbours are at least `apart`; the order stays.

    Least squares under that constraint: take i * apart from place i, pool what is out of order into its mean
    (isotonic regression by pool-adjacent-violators), put it back.
    """
    pools: list[tuple[float, int]] = []
    for i, place in enumerate(wanted):
        mean, size = place - i * apart, 1
        while pools and pools[-1][0] > mean:
            earlier_mean, earlier_size = pools.pop()
            mean = (mean * size + earlier_mean * earlier_size) / (size + earlier_size)
            size += earlier_size
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + i * apart for i, mean in enumerate(flat)]
