"""How late the generator itself was: a histogram of nanoseconds that merges exactly between workers.

Bins are log-linear: 64 to each power of two, so a percentile read from them is at most 1.6 % too high. Below 64 ns
they are exact.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SUB_BITS = 6


class Lateness:
    """Counts of durations by bin."""

    def __init__(self, bins: Mapping[int, int] | None = None, most_ns: int = 0) -> None:
        self.bins = dict(bins or {})
        self.most_ns = most_ns

    def add(self, duration_ns: int) -> None:
        """Count one duration; a negative one counts as 0."""
        duration_ns = max(duration_ns, 0)
        shift = max(duration_ns.bit_length() - _SUB_BITS - 1, 0)
        key = (shift << _SUB_BITS) + (duration_ns >> shift)
        self.bins[key] = self.bins.get(key, 0) + 1
        self.most_ns = max(self.most_ns, duration_ns)

    def merge(self, other: Lateness) -> None:
        for key, count in other.bins.items():
            self.bins[key] = self.bins.get(key, 0) + count
        self.most_ns = max(self.most_ns, other.most_ns)

    @property
    def count(self) -> int:
        return sum(self.bins.values())

    def percentile(self, percent: float) -> int | None:
        """The smallest bin edge that at least `percent` of the durations do not exceed; None without any."""
        need = percent / 100 * self.count
        seen = 0
        for key in sorted(self.bins):
            seen += self.bins[key]
            if seen >= need:
                return min(_highest(key), self.most_ns)
        return None

    def summary(self) -> dict[str, int | None]:
        return {
            "count": self.count,
            "p50_ns": self.percentile(50),
            "p99_ns": self.percentile(99),
            "max_ns": self.most_ns if self.bins else None,
        }


def _highest(key: int) -> int:
    """The largest duration in a bin. Keys of shift s span [s*64 + 64, s*64 + 128), those below 128 have shift 0."""
    shift = max((key >> _SUB_BITS) - 1, 0)
    return (((key - (shift << _SUB_BITS)) + 1) << shift) - 1
