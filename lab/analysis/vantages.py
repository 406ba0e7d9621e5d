"""One connection seen at both ends: what happened to each segment between them, decided from two captures, not guessed.

    sent, delivered = analyze([client_file]), analyze([server_file])
    join(sent, delivered)       # one row a copy that the sender's side shows

A segment is known by its 4-tuple, direction, sequence and acknowledgement number, flags and length, and by its IP
identification where it has one. Copies of one segment are matched in the order of their times: lost = sent and never
arrived; duplicated = arrived more often than sent; reordered = arrived after a segment that was sent later; delay =
difference of the two stamps, which means something on one clock only.
"""

from __future__ import annotations

import polars as pl

from lab.analysis import Analysis

KEY = ("src_addr", "src_port", "dst_addr", "dst_port", "protocol", "ip_id", "tcp_flags", "seq", "ack", "payload_bytes")


def _copies(analysis: Analysis, name: str) -> pl.DataFrame:
    """The segments and datagrams of a vantage, the copies of each numbered from 0 in the order of time."""
    return (
        analysis.packets()
        .filter(pl.col("protocol").is_in([6, 17]) & ~pl.col("capture_duplicate") & pl.col("src_port").is_not_null())
        .select("index", "t_ns", "connection", "flow", "direction", *KEY)
        .with_columns(pl.col("ip_id").replace(0, None))
        .sort("t_ns", "index")
        .with_columns(copy=pl.int_range(pl.len(), dtype=pl.UInt32).over(KEY))
        .rename(
            {
                "index": f"{name}_index",
                "t_ns": f"{name}_t_ns",
                "connection": f"{name}_connection",
                "flow": f"{name}_flow",
            }
        )
    )


def join(sender_side: Analysis, receiver_side: Analysis) -> pl.DataFrame:
    """Join two captures of the same traffic, sender's side first: one row a copy of a segment seen at either.

    Only packets that the sender's side shows as going to the receiver's side belong here: call it once for each
    direction, with `packets_from` to choose by address. Columns: those that name the segment; `sent_index`,
    `arrived_index` and their times and connections (null where that side has no such copy); `lost`, `duplicated`,
    `reordered`; `delay_ns` (null unless seen at both). A capture that lost packets itself cannot tell its losses from
    the network's: `lost` and `duplicated` are null then. So they are for a segment that passed one side while the other
    did not record: captures end one after another, and a retransmission may come in between.
    """
    sent, arrived = _copies(sender_side, "sent"), _copies(receiver_side, "arrived").drop("direction")
    joined = sent.join(arrived, on=[*KEY, "copy"], how="full", coalesce=True, nulls_equal=True)
    return _judged(joined, sender_side, receiver_side)


def packets_from(joined: pl.DataFrame, address: str) -> pl.DataFrame:
    """Of a join, what one host sent."""
    return joined.filter(pl.col("src_addr") == address)


def _complete(analysis: Analysis) -> bool:
    """Whether a capture has all there was to see, as far as it tells."""
    return not analysis.errors and not (analysis.captures["dropped"].fill_null(0) > 0).any()


def _recorded(analysis: Analysis, first_ns: pl.Expr, last_ns: pl.Expr) -> pl.Expr:
    """Whether a capture recorded all the time between two; always, where it does not tell when it began and ended."""
    began, ended = analysis.captures["began_ns"].max(), analysis.captures["ended_ns"].min()
    return (first_ns >= began if began is not None else pl.lit(True)) & (
        last_ns <= ended if ended is not None else pl.lit(True)
    )


def _judged(joined: pl.DataFrame, sender_side: Analysis, receiver_side: Analysis) -> pl.DataFrame:
    """Say of each copy what became of it."""
    way = ("src_addr", "src_port", "dst_addr", "dst_port", "protocol")
    sent, arrived = pl.col("sent_t_ns"), pl.col("arrived_t_ns")
    # What is seen at one side alone passed the other within the longest delay that was seen.
    longest_ns = max(joined.select((arrived - sent).max()).item() or 0, 0)
    can_tell_loss = arrived.is_not_null() | _recorded(receiver_side, sent, sent + longest_ns)
    can_tell_copy = sent.is_not_null() | _recorded(sender_side, arrived - longest_ns, arrived)
    rows = joined.with_columns(
        lost=pl.when(_complete(receiver_side) & can_tell_loss).then(arrived.is_null()),
        duplicated=pl.when(_complete(sender_side) & can_tell_copy).then(sent.is_null()),
        delay_ns=arrived - sent,
    ).sort("arrived_t_ns", "arrived_index", nulls_last=True)
    latest = pl.col("sent_t_ns").cum_max().shift(1).over(way)
    rows = rows.with_columns(
        reordered=(pl.col("arrived_t_ns").is_not_null() & (pl.col("sent_t_ns") < latest)).fill_null(False)
    )
    return rows.sort(pl.coalesce("sent_t_ns", "arrived_t_ns"))
