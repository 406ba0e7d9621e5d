"""Measures of datagrams on their way to one host: lost where, doubled, overtaken, cut, and how unsteadily they came.

Counted over all streams to that host, by the table `datagram_points`; what was lost in its kernel is held against what
the kernel says it threw away.
"""

from __future__ import annotations

import polars as pl

from lab.verdict.observe import Evidence, Observation

THROWN_AWAY = ("Udp.RcvbufErrors", "Udp.InCsumErrors", "Udp.MemErrors")
"""Why a kernel drops a datagram that reached it and that a socket waits for (udp(7), net/ipv4/udp.c): no room in the
socket's receive buffer, a wrong checksum, no memory for UDP as a whole (which RcvbufErrors does not count)."""


def observe_datagrams(what: str, at: str, evidence: Evidence) -> Observation:
    """Observe one measure whose name begins with `datagrams.`. Raises ValueError for a word that does not exist."""
    name = what.removeprefix("datagrams.")
    hosts = evidence.hosts_named(at)
    table = pl.read_parquet(evidence.folder / "tables" / "datagram_points.parquet")
    rows = table.filter(pl.col("receiver").is_in(hosts)).sort("stream")
    place = f"tables/datagram_points.parquet, streams to {at}"
    if rows.is_empty():
        return Observation(value=None, evidence=f"{place}: no numbered datagrams")
    senders = [host for host in rows["sender"].unique() if host is not None]
    doubt = "; ".join(d for host in {*hosts, *senders} if (d := evidence.capture_doubt(host))) or None
    kind, _, point = name.partition(".")
    if kind == "jitter":
        return _jitter(rows, point, place, doubt)
    if kind == "unexplained":
        return _unexplained(rows, hosts, place, doubt, evidence)
    if kind == "sent":
        first = rows.filter(pl.col("since").is_null())
        return Observation(value=int(first["distinct"].sum()), evidence=f"{place}: distinct at each first point")
    condition, column, said = {
        "lost_on_wire": (_between("sender", "receiver"), "lost", "receiver since sender"),
        "lost_at_receiver": (_between("receiver", "recv"), "lost", "recv since receiver"),
        "taken": (pl.col("point") == "recv", "distinct", "recv"),
        "duplicated": (pl.col("point") == "receiver", "duplicated", "receiver"),
        "reordered": (pl.col("point") == "receiver", "reordered", "receiver"),
        "extent": (pl.col("point") == "receiver", "extent", "receiver"),
        "truncated": (pl.col("point") == "recv", "truncated", "recv"),
    }[kind]
    chosen = rows.filter(condition)
    if chosen.is_empty():
        return Observation(value=None, evidence=f"{place}: no row of {said}; it takes both captures, or boundary logs")
    value = chosen[column].max() if kind == "extent" else chosen[column].sum()
    return Observation(value=int(str(value)), evidence=f"{place}: {column} at {said}", doubt=doubt)


def _between(since: str, point: str) -> pl.Expr:
    return (pl.col("point") == point) & (pl.col("since") == since)


def _jitter(rows: pl.DataFrame, point: str, place: str, doubt: str | None) -> Observation:
    if point not in ("sender", "receiver", "recv", "wire"):
        raise ValueError(f"no such point, got {point!r}; there are: sender, receiver, recv, wire")
    condition = _between("sender", "receiver") if point == "wire" else pl.col("point") == point
    column = "hop_jitter_ns" if point == "wire" else "jitter_ns"
    known = rows.filter(condition)[column].drop_nulls()
    said = f"{place}: the largest {column} at {'receiver since sender' if point == 'wire' else point}"
    return Observation(value=None if known.is_empty() else float(str(known.max())), evidence=said, doubt=doubt)


def _unexplained(
    rows: pl.DataFrame, hosts: list[str], place: str, doubt: str | None, evidence: Evidence
) -> Observation:
    chosen = rows.filter(_between("receiver", "recv"))
    readings = [evidence.counters(host) for host in hosts]
    if chosen.is_empty() or None in readings:
        return Observation(value=None, evidence=f"{place}: no boundary log of the receiver, or no kernel counters")
    thrown = sum(
        after.get(name, 0) - before.get(name, 0)
        for before, after in (reading for reading in readings if reading is not None)
        for name in THROWN_AWAY
    )
    lost = int(chosen["lost"].sum())
    said = f"{place}: {lost} reached the host and no recv; its kernel threw away {thrown} ({', '.join(THROWN_AWAY)})"
    if evidence.manifest["server_host"] in hosts and "dropped" in evidence.server:
        said += f", of which the server's socket counts {evidence.server['dropped']}"
    return Observation(value=abs(lost - thrown), evidence=said, doubt=doubt)
