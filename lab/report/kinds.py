"""The kinds of handshakes, teardowns and resets counted, each with a gloss in plain words.

In: rows of the connections table. Out: one line such as `9,790 fin4 (FIN, ACK, FIN, ACK); 210 fin3 (...)`.
"""

from __future__ import annotations

import polars as pl

from lab import units

KINDS = {
    "complete": "SYN, SYN-ACK, ACK",
    "incomplete": "never agreed on",
    "no_answer": "the SYN was never answered",
    "refused": "nobody listens: the SYN was answered by RST",
    "syn_aborted": "the client gave up before an answer",
    "syn_rcvd": "the SYN-ACK was never acknowledged",
    "bad_ack": "the wrong number was acknowledged",
    "reset_in_syn_rcvd": "reset before it was established",
    "icmp_error": "the network reported it unreachable",
    "one_sided": "only one direction was seen",
    "midstream": "began before the capture",
    "fin4": "FIN, ACK, FIN, ACK",
    "fin3": "FIN, FIN with the ACK, ACK",
    "simultaneous": "both FINs crossed",
    "half_closed": "one side closed, the other went on",
    "last_ack_missing": "the last FIN was never acknowledged",
    "reset": "ended by RST, not by FIN",
    "open_at_end": "still open when the capture ended",
    "refuse": "to a port nobody listens on",
    "abort": "the sender threw the connection away (SO_LINGER 0)",
    "abort_unread": "closed with unread data",
    "after_fin": "data met a closed socket",
    "after_close": "after both FINs",
    "with_data": "carrying data",
    "out_of_window": "outside the window: ignored by TCP",
    "unknown": "the capture lost packets",
}
"""A gloss for each word of the tables."""


def kinds(table: pl.DataFrame, *columns: str) -> str:
    """Count the kinds in a column, the most common first, with glosses; the last of `columns` says most."""
    kind = pl.coalesce([pl.col(name).cast(pl.String) for name in reversed(columns) if name in table.columns]).alias(
        "kind"
    )
    counted = table.select(kind).drop_nulls().group_by("kind").len().sort(["len", "kind"], descending=[True, False])
    told = [
        f"{units.show_count(n)} {name}" + (f" ({KINDS[name]})" if name in KINDS else "")
        for name, n in counted.iter_rows()
    ]
    return "; ".join(told) or "none"
