"""Measures of frames: how many of one kind a host's capture holds. ARP, casts, fragments."""

from __future__ import annotations

import polars as pl

from lab.verdict.observe import Evidence, Observation

FRAGMENT = pl.col("more_fragments") | (pl.col("fragment_offset") > 0)
KINDS = {
    "arp.requests": (pl.col("arp_operation") == "request", "arp_operation = request"),
    "arp.replies": (pl.col("arp_operation") == "reply", "arp_operation = reply"),
    "fragments": (FRAGMENT, "more_fragments or fragment_offset > 0"),
    **{f"frames.{cast}": (pl.col("cast") == cast, f"cast = {cast}") for cast in ("unicast", "multicast", "broadcast")},
}


def observe_frames(what: str, at: str, evidence: Evidence) -> Observation:
    """Observe one measure of frames. Raises ValueError for a word that does not exist."""
    if what not in KINDS:
        raise ValueError(f"no such kind of frames, got {what!r}; there are: {', '.join(KINDS)}")
    hosts = [host for host in evidence.hosts_named(at) if host in evidence.captures]
    if not hosts:
        return Observation(value=None, evidence=f"{at} was not captured")
    table = evidence.folder / "tables" / "frames.parquet"
    if not table.exists():
        return Observation(value=None, evidence="the captures are too long for the table of frames")
    condition, text = KINDS[what]
    value = pl.read_parquet(table).filter(pl.col("host").is_in(hosts) & condition).height
    doubts = [d for host in hosts if (d := evidence.capture_doubt(host))]
    return Observation(
        value=value,
        evidence=f"tables/frames.parquet, host {', '.join(hosts)}: rows with {text}",
        doubt="; ".join(doubts) or None,
    )
