"""Measures of message boundaries: what reached one host joined or cut, over all streams to it.

Counted at the receiving host, since there it matters; the wire of those streams is the sender's capture.
"""

from __future__ import annotations

import polars as pl

from lab.analysis.boundaries import CLASSES, CUT, JOINED
from lab.verdict.observe import Evidence, Observation

UNITS = {"sends": "send", "segments": "segment", "recvs": "recv"}
CAUSES = {"joined_by": ("recv_joined_by", JOINED), "cut_by": ("recv_split_by", CUT)}


def observe_boundaries(what: str, at: str, evidence: Evidence) -> Observation:
    """Observe one measure whose name begins with `boundaries.`. Raises ValueError for a word that does not exist."""
    name = what.removeprefix("boundaries.")
    kind, _, value = name.partition(".")
    table = "units" if kind in UNITS else "messages"
    place = f"tables/{table}.parquet, streams to {at}"
    frame = pl.read_parquet(evidence.folder / "tables" / f"{table}.parquet")
    rows = frame.filter(pl.col("receiver").is_in(evidence.hosts_named(at)))
    if rows.is_empty():
        return Observation(value=None, evidence=f"{place}: no boundary log of both ends")
    doubts = [d for host in evidence.captures if (d := evidence.capture_doubt(host))] if kind == "segments" else []
    if kind in UNITS:
        return _units(rows.filter(pl.col("unit") == UNITS[kind]), value, place, "; ".join(doubts) or None)
    if kind in CAUSES:
        column, words = CAUSES[kind]
        if value not in words:
            raise ValueError(f"no such cause, got {value!r}; there are: {', '.join(words)}")
        unclear = rows.filter(pl.col(column) == "unknown").height
        doubt = f"{unclear} messages whose cause is unknown" if unclear and value != "unknown" else None
        count = rows.filter(pl.col(column) == value).height
        return Observation(value=count, evidence=f"{place}: rows with {column} = {value}", doubt=doubt)
    condition, said = {
        "messages": (pl.lit(True), "rows"),
        "misread": (~pl.col("taken_whole"), "rows not taken_whole"),
        "lost": (pl.col("recvs") == 0, "rows with recvs = 0"),
        "duplicated": ((pl.col("protocol") == "udp") & (pl.col("recvs") > 1), "udp rows with recvs > 1"),
    }[kind]
    return Observation(value=rows.filter(condition).height, evidence=f"{place}: {said}")


def _units(rows: pl.DataFrame, value: str, place: str, doubt: str | None) -> Observation:
    if value == "all":
        return Observation(value=rows.height, evidence=f"{place}, all rows", doubt=doubt)
    if value not in CLASSES[:3]:
        raise ValueError(f"no such class, got {value!r}; there are: all, {', '.join(CLASSES[:3])}")
    if rows.is_empty() or rows["class"].null_count():
        return Observation(value=None, evidence=f"{place}: not captured, or super-segments void the wire")
    count = rows.filter((pl.col("class") == value) | (pl.col("class").str.split("+").list.contains(value))).height
    return Observation(value=count, evidence=f"{place}: rows whose class is or holds {value}", doubt=doubt)
