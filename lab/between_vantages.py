"""What became of each segment between two hosts that both were captured: lost, delayed, duplicated, reordered.

In: the captures of a run and its topology. Out: a row a direction with counts and one-way delays, and a row a segment
or datagram. Nothing is guessed: a segment is lost where the sender's capture shows it and the receiver's does not, and
its delay is the difference of the two stamps. Hosts of one engine run on one machine and share its clock, so that the
delay is one-way delay. A capture that lost packets itself claims nothing: null.
"""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl

from lab import units
from lab.analysis import Analysis, analyze
from lab.analysis.vantages import join
from lab.captured import as_text, problem
from lab.report.steps import flag_names

SEGMENT = (
    "from", "to", "src_addr", "src_port", "dst_addr", "dst_port", "protocol", "tcp_flags", "seq", "ack",
    "payload_bytes", "sent_t_ns", "arrived_t_ns", "delay_ns", "lost", "duplicated", "reordered", "sent_index",
    "arrived_index", "sent_connection", "arrived_connection",
)  # fmt: skip
"""Columns that a row a segment has: what names it, and what became of it. `*_index` are frames of the two captures."""
UNUSUAL = pl.col("lost") | pl.col("duplicated") | pl.col("reordered")


def between_vantages(
    folder: Path, *, connection: int | None, host: str, limit: int
) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """Tell what became of what captured hosts sent one another; `connection` as numbered at `host`: of that one only.

    Raises ScenarioInvalid where fewer than two hosts were captured.
    """
    captures = {file.stem: file for file in sorted((folder / "captures").glob("*.pcapng"))}
    if len(captures) < 2:
        names = ", ".join(captures) or "none"
        raise problem(
            str(folder / "captures"),
            f"two captured hosts are needed, got {names}",
            "capture both in the scenario: `capture: [{host: ...}, {host: ...}]`",
        )
    analyses = {name: analyze([file]) for name, file in captures.items()}
    segments = pl.concat(_one_way(folder, analyses, *ends) for ends in permutations(analyses, 2))
    if connection is not None:
        segments = _of_connection(segments, connection, host)
    paths = _paths(segments)
    shown = segments if connection is not None else segments.filter(UNUSUAL)
    lines = [_paths_text(paths)]
    if shown.height:
        lines.append("" if connection is not None else "\nlost, duplicated, reordered:")
        lines.append(_segments_text(shown.head(limit)))
    if shown.height > limit:
        lines.append(f"{limit} of {shown.height}: `--limit {shown.height}` shows all")
    return {"paths": paths.to_dicts(), "segments": segments.to_dicts()}, "\n".join(line for line in lines if line)


def _one_way(folder: Path, analyses: dict[str, Analysis], sender: str, receiver: str) -> pl.DataFrame:
    """What one host sent to another: a row a copy of a segment, in the order of time."""
    topology = json.loads((folder / "topology.json").read_text())
    addresses = {
        machine["name"]: [interface["address"] for interface in machine["interfaces"]] for machine in topology["hosts"]
    }
    joined = join(analyses[sender], analyses[receiver]).filter(
        pl.col("src_addr").is_in(addresses.get(sender, [])) & pl.col("dst_addr").is_in(addresses.get(receiver, []))
    )
    return joined.select(pl.lit(sender).alias("from"), pl.lit(receiver).alias("to"), pl.all()).select(SEGMENT)


def _of_connection(segments: pl.DataFrame, connection: int, host: str) -> pl.DataFrame:
    """Choose one connection, as numbered at `host`, at both ends: each capture numbers its own."""
    here = ((pl.col("from") == host) & (pl.col("sent_connection") == connection)) | (
        (pl.col("to") == host) & (pl.col("arrived_connection") == connection)
    )
    known = segments.filter(here)
    pairs = pl.concat(
        [
            known.select(host="from", number="sent_connection"),
            known.select(host="to", number="arrived_connection"),
        ]
    )
    both = pairs.drop_nulls().unique()
    sent = segments.join(both, left_on=["from", "sent_connection"], right_on=["host", "number"], how="semi")
    arrived = segments.join(both, left_on=["to", "arrived_connection"], right_on=["host", "number"], how="semi")
    return pl.concat([sent, arrived]).unique().sort(pl.coalesce("sent_t_ns", "arrived_t_ns"))


def _paths(segments: pl.DataFrame) -> pl.DataFrame:
    """Count by direction; delays by nearest rank, so that each is one that occurred."""
    delay = pl.col("delay_ns")
    return segments.group_by("from", "to", maintain_order=True).agg(
        pl.col("sent_t_ns").count().alias("sent"),
        pl.col("arrived_t_ns").count().alias("arrived"),
        *(
            pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)  # of those that can be told
            for name in ("lost", "duplicated")
        ),
        pl.col("reordered").sum(),
        delay.min().alias("delay_min_ns"),
        delay.quantile(0.5, "nearest").cast(pl.Int64).alias("delay_p50_ns"),
        delay.quantile(0.99, "nearest").cast(pl.Int64).alias("delay_p99_ns"),
        delay.max().alias("delay_max_ns"),
    )


def _duration(name: str) -> pl.Expr:
    return pl.col(name).map_elements(units.show_duration, return_dtype=pl.String)


def _paths_text(paths: pl.DataFrame) -> str:
    if paths.is_empty():
        return "neither of the captured hosts sent the other anything"
    shown = paths.with_columns(_duration(name) for name in paths.columns if name.endswith("_ns"))
    return as_text(shown.rename({name: name.removesuffix("_ns") for name in shown.columns}))


def _segments_text(segments: pl.DataFrame) -> str:
    """Segments as a table of text: what each was, and what became of it."""
    start = segments.select(pl.coalesce("sent_t_ns", "arrived_t_ns").min()).item()
    rows = []
    for row in segments.to_dicts():
        became = [word for word in ("lost", "duplicated", "reordered") if row[word]]
        at = row["sent_t_ns"] if row["sent_t_ns"] is not None else row["arrived_t_ns"]
        what = f"{flag_names(row['tcp_flags'])} seq {row['seq']}" if row["tcp_flags"] is not None else "datagram"
        rows.append(
            {
                "time": units.show_duration(at - start),
                "from": f"{row['from']}:{row['src_port']}",
                "to": f"{row['to']}:{row['dst_port']}",
                "segment": f"{what} len {row['payload_bytes']}",
                "delay": None if row["delay_ns"] is None else units.show_duration(row["delay_ns"]),
                "became": ", ".join(became) or ("arrived" if row["arrived_t_ns"] is not None else None),
            }
        )
    return as_text(pl.DataFrame(rows))
