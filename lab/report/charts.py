"""The charts of a run: how long answers took, how many connections were open, how long handshakes took.

In: `RunFiles`. Out: SVG strings, those for which the run has the tables. Pictures of every value: no sampling, no
rounding before a percentile is taken. What is drawn is thinned only below what the eye could tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl

from lab import units
from lab.report.chart import Axis, Line, chart, linear, log_time, percentiles
from lab.report.run_files import RunFiles

_POINTS = 200
"""Points of a line: one for each two units of a chart's width."""
_BINS_PER_DECADE = 16

_LATENCIES = (
    ("message", "service_ns", "service time", "blue"),
    ("message", "response_ns", "response time", "violet"),
    ("probe", "service_ns", "probes", "orange"),
    ("connect", "service_ns", "connect", "green"),
)


def charts(run: RunFiles) -> Iterator[str]:
    """Yield the charts that the run's tables allow, in the order of a reader's interest."""
    for draw in (latency, open_over_time, handshakes):
        drawn = draw(run)
        if drawn is not None:
            yield drawn


def latency(run: RunFiles) -> str | None:
    """Draw each latency series as a curve over its percentiles; None without a latency table."""
    table = run.table("latency", ["kind", "service_ns", "response_ns"])
    if table is None or not {"kind", "service_ns", "response_ns"} <= set(table.columns):
        return None
    lines, most = [], 0
    for kind, column, name, hue in _LATENCIES:
        values = table.filter(pl.col("kind").cast(pl.String) == kind)[column].drop_nulls().sort()
        if values.is_empty() or (column == "response_ns" and _same(table, kind)):
            continue
        most = max(most, values.len())
        lines.append(Line(name=name, hue=hue, points=_percentile_curve(values)))
    if not lines:
        return None
    times = [time for line in lines for _, time in line.points]
    x, y = percentiles(most, "percentile"), log_time(min(times), max(times), "took at most")
    told = "; ".join(f"{line.name}: slowest {units.show_duration(line.points[-1][1])}" for line in lines)
    return chart("Latency", x, y, lines, told)


def _same(table: pl.DataFrame, kind: str) -> bool:
    """Whether response time is service time: nothing was sent later than it was due (a closed model)."""
    own = table.filter(pl.col("kind").cast(pl.String) == kind)
    return bool((own["service_ns"].drop_nulls() == own["response_ns"].drop_nulls()).all())


def _percentile_curve(ordered: pl.Series) -> list[tuple[float, float]]:
    """Points (-log10(1 - share), time) by the nearest rank; the last is the maximum."""
    count = ordered.len()
    end = math.log10(count) if count > 1 else 1.0
    points = []
    for i in range(_POINTS):
        nines = end * i / _POINTS
        rank = max(math.ceil((1 - 10**-nines) * count), 1)
        points.append((nines, float(ordered[rank - 1])))
    return [*points, (end, float(ordered[-1]))]


def open_over_time(run: RunFiles) -> str | None:
    """Draw how many connections were open at each moment, as the first vantage saw it; None without one."""
    for host in run.vantages:
        table = run.table("connections", ["start_ns", "duration_ns"], host)
        if table is None or table.is_empty():
            continue
        start = int(table["start_ns"].min())  # type: ignore[arg-type]
        opened = table.select(t=pl.col("start_ns") - start, change=pl.lit(1))
        closed = table.select(t=pl.col("start_ns") + pl.col("duration_ns") - start, change=pl.lit(-1))
        moments = pl.concat([opened, closed]).sort("t", "change", descending=[False, True])
        counted = moments.with_columns(open=pl.col("change").cum_sum())
        width = max(int(counted["t"][-1]) // _POINTS, 1)
        thinned = counted.group_by(pl.col("t") // width * width, maintain_order=True).agg(pl.col("open").max())
        points = [(0.0, 0.0), *((t / 1e9, float(n)) for t, n in thinned.iter_rows()), (counted["t"][-1] / 1e9, 0.0)]
        most = int(counted["open"].max())  # type: ignore[arg-type]
        line = Line(name="open", hue="blue", points=points, steps=True, filled=True)
        x, y = linear(points[-1][0], "seconds since the first SYN", _plain), linear(most, "connections open")
        told = f"at most {units.show_count(most)} connections open at the same moment, seen at {host}"
        return chart("Connections open over time", x, y, [line], told)
    return None


def _plain(value: float) -> str:
    return f"{value:g}"


_HANDSHAKE = (
    ("syn_ack_rtt_ns", "SYN to SYN-ACK", "blue"),
    ("ack_rtt_ns", "SYN-ACK to ACK", "green"),
)


def handshakes(run: RunFiles) -> str | None:
    """Draw how long both halves of the handshake took, as histograms; None where no handshake was measured."""
    for host in run.vantages:
        table = run.table("connections", [column for column, _, _ in _HANDSHAKE], host)
        if table is None:
            continue
        halves = [
            (name, hue, table[column].drop_nulls())
            for column, name, hue in _HANDSHAKE
            if column in table.columns and table[column].drop_nulls().len()
        ]
        if not halves:
            continue
        low = min(float(values.min()) for _, _, values in halves)  # type: ignore[arg-type]
        high = max(float(values.max()) for _, _, values in halves)  # type: ignore[arg-type]
        x = log_time(low, high, f"time between the two, seen at {host}")
        lines = [
            Line(name=name, hue=hue, points=_histogram(values, x), steps=True, filled=True)
            for name, hue, values in halves
        ]
        y = linear(max(count for line in lines for _, count in line.points), "connections")
        told = "; ".join(f"{name}: median {units.show_duration(float(v.median()))}" for name, _, v in halves)  # type: ignore[arg-type]
        return chart("Handshake times", x, y, lines, told)
    return None


def _histogram(values: pl.Series, axis: Axis) -> list[tuple[float, float]]:
    """Count values in bins of equal width on the logarithmic axis; points at the bins' left edges, and a last 0."""
    bins = round(math.log10(axis.high / axis.low) * _BINS_PER_DECADE)
    place = (values.cast(pl.Float64).log10() - math.log10(axis.low)) * _BINS_PER_DECADE
    counts = dict(place.floor().cast(pl.Int64).clip(0, bins - 1).value_counts().iter_rows())
    edges = [axis.low * 10 ** (i / _BINS_PER_DECADE) for i in range(bins + 1)]
    return [(edge, float(counts.get(i, 0))) for i, edge in enumerate(edges)]
