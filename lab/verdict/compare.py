"""Runs side by side: for each subject and measure the median of its repeats, with an interval that assumes nothing.

Goes in: subjects, each with the folders of its repeats. Comes out: plain rows, as stored in `verdict.json` of a series.

**The interval** is that of order statistics: of n independent repeats the true median lies between the k-th smallest
and the k-th largest with probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution. The narrowest interval
with at least 95 % is taken; below six repeats none reaches that, and it is the whole range, with its smaller
probability told (three repeats: 75 %). One repeat has no interval.

Two subjects differ in a measure where their intervals do not overlap; where they do, **no difference** was shown.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab import measures
from lab.verdict.observe import Evidence, observe

WANTED_CONFIDENCE = 0.95
COLUMNS = (
    "server.load_rate",
    "server.load_cpu_per_message",
    "server.syscalls_per_message",
    "latency.service.p50",
    "latency.service.p99",
    "server.memory_per_connection",
)
"""What a comparison shows where nobody says otherwise."""
SPOILT = ("valid", "host-noisy", "kernel-limited", "generator-limited")
"""Validities, from the best to the worst."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One measure of one subject."""

    median: float | None
    """None: no repeat told the number."""
    low: float | None = None
    high: float | None = None
    """None: fewer than two repeats told it."""
    confidence: float | None = None
    """Probability that the interval holds the true median."""
    values: tuple[float, ...] = ()
    """Of each repeat that told it, in their order."""


@dataclass(kw_only=True)
class Subject:
    """What is compared: a cell of a series, or the runs of one scenario on one engine."""

    name: str
    axes: dict[str, str] = field(default_factory=dict)
    """What tells it from the others: `server.model: poll`."""
    folders: list[Path] = field(default_factory=list)
    """Its repeats."""


def interval(values: Sequence[float]) -> Interval:
    """Return the median and its distribution-free interval."""
    if not values:
        return Interval(median=None)
    ordered, n = sorted(values), len(values)
    median = statistics.median(ordered)
    if n < 2:
        return Interval(median=median, values=tuple(values))
    k = 1
    while k < n // 2 and _confidence(n, k + 1) >= WANTED_CONFIDENCE:
        k += 1
    return Interval(
        median=median, low=ordered[k - 1], high=ordered[n - k], confidence=_confidence(n, k), values=tuple(values)
    )


def _confidence(n: int, k: int) -> float:
    return 1.0 - 2.0 * sum(math.comb(n, i) for i in range(k)) / float(2**n)


def differ(one: Interval, other: Interval) -> bool | None:
    """Whether two subjects differ; None where one of them has no interval."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.high < other.low or other.high < one.low


def row(subject: Subject, columns: Sequence[str]) -> dict[str, Any]:
    """Measure one subject: its name, axes, worst verdict and validity, and an interval for each column."""
    found: dict[str, list[float]] = {column: [] for column in columns}
    verdicts, validities = [], []
    for folder in subject.folders:
        verdict = json.loads((folder / "verdict.json").read_text())
        verdicts.append(verdict["verdict"])
        validities.append(verdict["validity"])
        evidence = Evidence.read(folder)
        for column in columns:
            value = _value(column, evidence)
            if value is not None:
                found[column].append(value)
    return {
        "name": subject.name,
        "axes": subject.axes,
        "repeats": len(subject.folders),
        "runs": [str(folder) for folder in subject.folders],
        "verdict": next((word for word in ("fail", "unknown", "pass") if word in verdicts), "unknown"),
        "validity": max(validities, key=SPOILT.index, default=None),
        "columns": {column: asdict(interval(values)) for column, values in found.items()},
    }


def _value(measure: str, evidence: Evidence) -> float | None:
    try:
        return observe(measure, evidence.manifest["server_host"], evidence).value
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError):
        return None  # a run that did not leave what this needs: the table says so with a dash


def cell_of(a_row: dict[str, Any], column: str) -> Interval:
    """Return one interval out of a stored row."""
    return Interval(**{**a_row["columns"][column], "values": tuple(a_row["columns"][column]["values"])})


def findings(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Say for each column who is best, who is no different from the best, and how far the last one is.

    Two subjects: `best` and either `ties` or `worst`; many: the same. A column that fewer than two tell is left out.
    """
    result = []
    for column in columns:
        told = [(a_row["name"], cell_of(a_row, column)) for a_row in rows]
        there = [(name, one, one.median) for name, one in told if one.median is not None]
        if len(there) < 2:
            continue
        there.sort(key=lambda item: item[2], reverse=measures.better(column) == "more")
        best_name, best, best_median = there[0]
        last_name, last, last_median = there[-1]
        small, large = sorted((abs(best_median), abs(last_median)))
        result.append(
            {
                "column": column,
                "best": best_name,
                "no_difference": [name for name, one, _ in there[1:] if differ(best, one) is False],
                "last": last_name,
                "times": large / small if small else None,
                "differ": differ(best, last),
            }
        )
    return result
