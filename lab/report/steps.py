"""One connection as a list of steps: the segments in the order of the capture, with numbers people can read.

In: the packets and connections tables. Out: `Step` records with relative sequence numbers and times since the first
segment, ready to be drawn (`ladder.py`, `ladder_svg.py`) or walked through the state table (`tcp_states.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lab import units
from lab.analysis.words import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_NAMES = (
    (SYN, "SYN"),
    (FIN, "FIN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (URG, "URG"),
    (ECE, "ECE"),
    (CWR, "CWR"),
    (ACK, "ACK"),
)

MODULUS = 1 << 32


@dataclass(frozen=True, kw_only=True)
class Step:
    """One segment of a connection."""

    t_ns: int
    """Since the first segment of the connection that was seen."""
    direction: str
    """`orig`: from the originator, or `resp`."""
    flags: int
    """Control bits."""
    seq: int
    """Relative: the sender's SYN is 0."""
    ack: int | None
    """Relative to the other side's SYN; None without ACK."""
    payload_bytes: int
    window: int
    """Bytes; scaled where the handshake told the scale. That of a SYN never is."""
    options: str = ""
    """What the handshake offers, e.g. `mss 1460, sack, timestamps, wscale 7`."""
    note: str = ""
    """What is remarkable: `retransmission`, `out of order`, `zero window`."""

    @property
    def syn(self) -> bool:
        return bool(self.flags & SYN)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)

    @property
    def rst(self) -> bool:
        return bool(self.flags & RST)

    @property
    def end(self) -> int:
        """The sequence number after it: SYN and FIN count one each (RFC 9293 3.4)."""
        return self.seq + self.payload_bytes + self.syn + self.fin


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One end of a connection, as the heading of its column."""

    host: str
    """The host's name; empty where only the address is known."""
    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


def flag_names(flags: int) -> str:
    """Name the control bits: `SYN`, `SYN-ACK`, `PSH+ACK`, `FIN+ACK`."""
    if flags & (SYN | ACK | FIN | RST) == SYN | ACK:
        return "SYN-ACK"
    return "+".join(name for bit, name in _NAMES if flags & bit) or "no flags"


class _Relative:
    """Sequence numbers of one side counted from its SYN, past 2^32 too: each is taken nearest to the one before."""

    def __init__(self) -> None:
        self._base: int | None = None
        self._last = 0

    def start(self, number: int) -> None:
        """Let `number` be 0."""
        self._base, self._last = number, 0

    def of(self, number: int, *, otherwise: int) -> int:
        """Return the relative number; where none is known yet, `number` itself becomes `otherwise`."""
        if self._base is None:
            self.start((number - otherwise) % MODULUS)
        assert self._base is not None
        forward = (number - self._base - self._last) % MODULUS
        result = self._last + (forward if forward < MODULUS // 2 else forward - MODULUS)
        self._last = max(self._last, result)
        return result


def steps(packets: pl.DataFrame, connection: int, row: Mapping[str, Any] | None = None) -> list[Step]:
    """Build the steps of one connection from the packets table (of one vantage), in the order of the capture.

    `row`: its row of the connections table, which has the options of the handshake; None: they are left out.
    """
    own = (pl.col("connection") == connection) & pl.col("tcp_flags").is_not_null() & pl.col("direction").is_not_null()
    segments = packets.filter(own).sort("t_ns", "index").to_dicts()
    sides = {"orig": _Relative(), "resp": _Relative()}
    for side, relative in sides.items():
        first_syn = next((s for s in segments if s["direction"] == side and s["tcp_flags"] & SYN), None)
        if first_syn is not None:
            relative.start(first_syn["seq"])
    highest: dict[str, int] = {}
    walked = []
    for segment in segments:
        options = _options(row or {}, segment["direction"]) if segment["tcp_flags"] & SYN else ""
        step = _step(segment, sides, segment["t_ns"] - segments[0]["t_ns"], highest, options)
        highest[step.direction] = max(highest.get(step.direction, step.end), step.end)
        walked.append(step)
    return walked


def _step(
    segment: Mapping[str, Any],
    sides: Mapping[str, _Relative],
    t_ns: int,
    highest: Mapping[str, int],
    options: str,
) -> Step:
    """Make one step. `highest`: where each side's stream ends so far, to tell a gap before this segment."""
    direction, flags = segment["direction"], segment["tcp_flags"]
    seq = sides[direction].of(segment["seq"], otherwise=1)
    gap = seq - highest.get(direction, seq)
    notes = [*_notes(segment), f"gap: {units.show_bytes(gap)} not seen before it"] if gap > 0 else [*_notes(segment)]
    return Step(
        t_ns=t_ns,
        direction=direction,
        flags=flags,
        seq=seq,
        ack=sides["resp" if direction == "orig" else "orig"].of(segment["ack"], otherwise=1) if flags & ACK else None,
        payload_bytes=segment["payload_bytes"] or 0,
        window=segment["window"] or 0,
        options=options,
        note=", ".join(notes),
    )


def _options(row: Mapping[str, Any], side: str) -> str:
    """What one side's SYN offers, from the connection's row."""
    parts = []
    if row.get(f"{side}_mss") is not None:
        parts.append(f"mss {row[f'{side}_mss']}")
    if row.get(f"{side}_sack_permitted"):
        parts.append("sack")
    if row.get(f"{side}_timestamps_offered"):
        parts.append("timestamps")
    if row.get(f"{side}_wscale") is not None:
        parts.append(f"wscale {row[f'{side}_wscale']}")
    return ", ".join(parts)


def _notes(row: Mapping[str, Any]) -> Iterable[str]:
    """What the analysis found remarkable about a segment."""
    segment_class = row.get("segment_class")
    if segment_class == "retransmission":
        kind = row.get("retransmission_kind")
        words = [word for word in ("spurious" if row.get("spurious") else "", kind or "", "retransmission") if word]
        yield " ".join(words)
    elif segment_class not in (None, "new"):
        yield str(segment_class).replace("_", " ")
    for mark in ("duplicate_ack", "zero_window", "super_segment", "capture_duplicate", "malformed"):
        if row.get(mark):
            yield mark.replace("_", " ")


KIND = ("handshake", "handshake_reason", "teardown", "reset", "history")
"""What makes two connections of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Typical:
    """The connection that stands for most others."""

    connection: int
    alike: int
    """Connections of its kind, itself included."""
    of: int
    """All connections."""
    duration_ns: int

    @property
    def caption(self) -> str:
        """Say why this one was picked: `connection 4: 10 of 10 went this way; it took the median time`."""
        return f"connection {self.connection}: {self.alike:,} of {self.of:,} went this way; it took the median time"


def choose_typical(connections: pl.DataFrame) -> Typical:
    """Pick the most common kind and in it the connection of median duration; ties go to the earlier one.

    Raises:
        ValueError: there are no connections.
    """
    if connections.is_empty():
        raise ValueError(
            "connections: none in the capture, got an empty table; at least one is needed to pick a typical one"
        )
    kind = [name for name in KIND if name in connections.columns]
    commonest = (
        connections.group_by(kind)
        .agg(alike=pl.len(), first=pl.col("id").min())
        .sort(["alike", "first"], descending=[True, False])
    )
    same = connections.join(commonest.head(1), on=kind, how="semi", nulls_equal=True).sort("duration_ns", "id")
    row = same.row((same.height - 1) // 2, named=True)
    return Typical(connection=row["id"], alike=same.height, of=connections.height, duration_ns=row["duration_ns"] or 0)


def typical(connections: pl.DataFrame) -> int:
    """Return the id of the connection that stands for most others (`choose_typical` says why)."""
    return choose_typical(connections).connection
