"""The fleet's raw latency logs as a table, and what they say: percentiles, and histograms that other tools read.

In: the `latency-<worker>.bin` files of fleet hosts (their format: `lab.inside.fleet.latency_log`). Out: one row a
message, connect or probe:

    host          text  the fleet host
    worker        i64   which of its workers
    phase_index   i64   position of the phase in the host's plan
    phase         text  its name; null where the caller did not give the names
    kind          enum  `message`, `connect` or `probe`
    connection    i64   the connection's number in the fleet; 2^32 and more: a short connection of a churn phase
    t_ns          i64   `sent_ns` on CLOCK_REALTIME, the clock of captures and event lines
    planned_ns    i64   when it was due, CLOCK_MONOTONIC
    sent_ns       i64   just before send(2) or connect(2), CLOCK_MONOTONIC
    done_ns       i64   when the whole answer was read; null: it never came
    service_ns    i64   done - sent: how long the server (and the path) took; null: no answer
    response_ns   i64   done - planned: how long the user waited, a stalled generator's queue included; null: no answer

Times are never rounded before a percentile is taken. A percentile is the nearest rank: the smallest time that at
least that share of the answered ones did not exceed, so it is always a time that occurred.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from hdrh.histogram import HdrHistogram

from lab.errors import LabError
from lab.inside.fleet.latency_log import HEADER, MAGIC, NEVER, RECORD

KINDS = ("message", "connect", "probe")
KIND = pl.Enum(KINDS)

HDR_LOWEST_NS, HDR_HIGHEST_NS, HDR_DIGITS = 1, 3_600_000_000_000, 3
"""The range (1 ns to 1 h) and resolution (significant decimal digits) of exported histograms."""
_HDR_BITS = 11
"""Binary digits that three decimal ones need: 2 * 10^3 distinct values rounded up to a power of two."""

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "host": pl.String,
    "worker": pl.Int64,
    "phase_index": pl.Int64,
    "phase": pl.String,
    "kind": KIND,
    "connection": pl.Int64,
    "t_ns": pl.Int64,
    "planned_ns": pl.Int64,
    "sent_ns": pl.Int64,
    "done_ns": pl.Int64,
    "service_ns": pl.Int64,
    "response_ns": pl.Int64,
}

PERCENTILES = {"p50_ns": 0.50, "p90_ns": 0.90, "p99_ns": 0.99, "p99_9_ns": 0.999}


def read_latency(files: Iterable[Path], *, host: str, phases: Sequence[str] | None = None) -> pl.DataFrame:
    """Read the logs of one host's workers, one row a record, sorted by `sent_ns`.

    `phases` are the names of the plan's phases in order. A record cut off at the end of a file (its writer was killed)
    is left out.

    Raises: LabError where a file is not a latency log.
    """
    tables = [_read_file(file, host) for file in files]
    table = pl.concat(tables) if tables else pl.DataFrame(schema={k: v for k, v in SCHEMA.items() if k != "phase"})
    names = dict(enumerate(phases or ()))
    name = pl.col("phase_index").replace_strict(names, default=None, return_dtype=pl.String)
    return table.with_columns(name.alias("phase")).select(list(SCHEMA)).sort("sent_ns")


def _read_file(file: Path, host: str) -> pl.DataFrame:
    data = file.read_bytes()
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise LabError(f"{file}: not a latency log, it starts with {data[:8]!r}; {MAGIC!r} is needed")
    _magic, worker, record_size, monotonic_ns, realtime_ns = HEADER.unpack_from(data)
    if record_size != RECORD.size:
        raise LabError(f"{file}: records of {record_size} bytes; {RECORD.size} are understood")
    count = (len(data) - HEADER.size) // RECORD.size
    rows = np.frombuffer(data, dtype="<i8", count=count * 6, offset=HEADER.size).reshape(count, 6)
    connection, phase_index, kind, planned, sent, done = (np.ascontiguousarray(rows[:, i]) for i in range(6))
    answered = pl.when(pl.col("done_ns") != NEVER).then(pl.col("done_ns"))
    return (
        pl.DataFrame(
            {
                "phase_index": phase_index,
                "kind": pl.Series(kind).replace_strict(dict(enumerate(KINDS)), return_dtype=KIND),
                "connection": connection,
                "t_ns": sent - monotonic_ns + realtime_ns,
                "planned_ns": planned,
                "sent_ns": sent,
                "done_ns": done,
            }
        )
        .with_columns(host=pl.lit(host), worker=pl.lit(worker, pl.Int64), done_ns=answered)
        .with_columns(
            service_ns=pl.col("done_ns") - pl.col("sent_ns"), response_ns=pl.col("done_ns") - pl.col("planned_ns")
        )
        .select([name for name in SCHEMA if name != "phase"])
    )


def summarise(table: pl.DataFrame, by: Sequence[str] = ("host", "phase_index", "phase", "kind")) -> pl.DataFrame:
    """Count and percentiles of service and response time: two rows (`time`) for each group of `by`, in its order.

    Columns: those of `by`, `time` (`service` | `response`), `count` (all), `unanswered`, and of the answered ones
    `min_ns, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns` (null where there are none).
    """
    parts = [_summary(table, list(by), time) for time in ("service", "response")]
    return pl.concat(parts).sort([*by, "time"], descending=[False] * len(by) + [True], nulls_last=True)


def _summary(table: pl.DataFrame, by: list[str], time: str) -> pl.DataFrame:
    times = pl.col(f"{time}_ns").drop_nulls().sort()
    rank = {name: ((times.len() * share).ceil().cast(pl.Int64) - 1).clip(0) for name, share in PERCENTILES.items()}
    return table.group_by(by).agg(
        pl.lit(time).alias("time"),
        pl.len().cast(pl.Int64).alias("count"),
        pl.col("done_ns").null_count().cast(pl.Int64).alias("unanswered"),
        times.min().alias("min_ns"),
        *(times.get(index, null_on_oob=True).alias(name) for name, index in rank.items()),
        times.max().alias("max_ns"),
    )


def hdr_histogram(times_ns: pl.Series) -> HdrHistogram:
    """Bin times (nulls left out) into an HDR histogram; times outside its range count at its ends."""
    values = times_ns.drop_nulls().to_numpy().clip(HDR_LOWEST_NS, HDR_HIGHEST_NS)
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - _HDR_BITS, 0)
    lowest, counts = np.unique((values >> shift) << shift, return_counts=True)  # as fine as the histogram's own bins
    histogram = HdrHistogram(HDR_LOWEST_NS, HDR_HIGHEST_NS, HDR_DIGITS)
    for value, count in zip(lowest.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram


def export_hdr(table: pl.DataFrame) -> pl.DataFrame:
    """Make the exchange form: per host, phase, kind and time, `hdr` is the histogram (HdrHistogram V2, base64)."""
    rows = []
    by = ["host", "phase_index", "phase", "kind"]
    for key, part in table.group_by(by, maintain_order=True):
        for time in ("service", "response"):
            histogram = hdr_histogram(part[f"{time}_ns"])
            encoded = histogram.encode().decode("ascii")
            rows.append((*key, time, histogram.get_total_count(), encoded))
    schema = {name: SCHEMA[name] for name in by} | {"time": pl.String, "count": pl.Int64, "hdr": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort([*by, "time"], nulls_last=True)


def nearest_rank(values: Sequence[int], share: float) -> int:
    """Return the smallest of `values` that at least `share` of them do not exceed: `summarise` in plain words."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
