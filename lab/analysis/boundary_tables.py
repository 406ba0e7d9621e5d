"""What the boundary logs and the capture say together, as tables: `messages` and `units`.

Goes in: a run folder with `hosts/*/boundaries-*.json` (format: `lab/inside/boundary_log.py`) and the tables of its
captures. Comes out: one row a message that a logged program sent, and one row a unit (send, segment, recv) that carried
it; classes and causes are those of `boundaries.py`. A **stream** is one direction of one connection, seen from its
sender's log; its wire is the sender's own capture, or the receiver's where the sender was not captured.

Of UDP a unit is a datagram. It is found again by its number, so loss and reordering do not shift what follows;
coalesced does not occur, and split means that the receiver's buffer cut it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.analysis import boundaries as b
from lab.analysis.tables import Column

I64, U32, TEXT, FLAG = pl.Int64, pl.UInt32, pl.String, pl.Boolean
NO_WIRE = "not captured, voided by super-segments, or UDP"
NO_RECVS = "the receiver kept no log, or did not get all of it"

STREAM = (
    Column("stream", U32, "", "number of the stream, from 0"),
    Column("sender", TEXT, "", "host that sent it"),
    Column("receiver", TEXT, "", "host that got it", "no host kept a log of that end"),
    Column("protocol", TEXT, "", "tcp or udp"),
    Column("sender_port", U32, "", "port it was sent from"),
    Column("receiver_port", U32, "", "port it was sent to"),
)

MESSAGES = (
    *STREAM,
    Column("connection", U32, "", "id of the connection at `vantage`", "not captured, or UDP"),
    Column("vantage", TEXT, "", "host whose capture shows the wire", "as connection"),
    Column("message", U32, "", "number in the stream, from 0"),
    Column("start", I64, "bytes", "stream offset where it begins"),
    Column("end", I64, "bytes", "stream offset where it ends"),
    Column("sends", U32, "", "send calls that carried bytes of it"),
    Column("segments", U32, "", "segments that carried bytes of it", NO_WIRE),
    Column("recvs", U32, "", "recv calls that brought bytes of it (UDP: 0 lost, 2 duplicated)", "no log"),
    Column("send_class", TEXT, "", "its class by the send calls", "a call is missing in the log"),
    Column("segment_class", TEXT, "", "its class on the wire", NO_WIRE),
    Column("recv_class", TEXT, "", "its class at the receiver", NO_RECVS),
    Column("segment_joined_by", TEXT, "", "why it was coalesced on the wire", "it was not"),
    Column("segment_split_by", TEXT, "", "why it was split on the wire", "it was not"),
    Column("recv_joined_by", TEXT, "", "why it was coalesced at the receiver", "it was not"),
    Column("recv_split_by", TEXT, "", "why it was split at the receiver", "it was not"),
    Column("taken_whole", FLAG, "", "the receiver took exactly it for a message; false: misread", "no log"),
)

UNITS = (
    *STREAM,
    Column("unit", TEXT, "", "send, segment or recv"),
    Column("number", U32, "", "number among the stream's units of that kind, from 0"),
    Column("t_ns", I64, "ns", "when the call returned, or the segment was captured, since 1970"),
    Column("start", I64, "bytes", "stream offset where it begins"),
    Column("end", I64, "bytes", "stream offset where it ends"),
    Column("asked", I64, "bytes", "what the call offered: its data, or its buffer", "a segment"),
    Column("class", TEXT, "", "aligned, coalesced, split, coalesced+split", "no message is known there, or voided"),
    Column("first_message", U32, "", "first message it holds bytes of", "as class"),
    Column("last_message", U32, "", "last one", "as class"),
    Column("super_segment", FLAG, "", "payload above the MSS: an offload's artefact, never on a wire"),
)

TABLES = {"messages": MESSAGES, "units": UNITS}
WIRE_CLASSES = ("new", "out_of_order")
"""Classes of segments that bring bytes for the first time; so does a retransmission that is `partial`."""
TIMESTAMPS_BYTES = 12
"""What the timestamps option takes from each segment's payload (RFC 7323, padded)."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Log:
    """One end's log of one connection."""

    host: str
    data: Mapping[str, Any]

    @property
    def ends(self) -> tuple[Any, ...]:
        return tuple(self.data["local"]), tuple(self.data["remote"] or ())

    def calls(self, kind: str) -> list[Sequence[Any]]:
        return [call for call in self.data["calls"] if call[0] == kind]

    @property
    def begin_ns(self) -> int:
        return int(self.data["calls"][0][4]) if self.data["calls"] else 0


def read_logs(folder: Path) -> list[Log]:
    """Return every end's log in the run folder, those of one 4-tuple in the order of their first calls."""
    logs = [
        Log(host=path.parent.name, data=one)
        for path in sorted((folder / "hosts").glob("*/boundaries-*.json"))
        for one in json.loads(path.read_text())["connections"]
    ]
    return sorted(logs, key=lambda log: log.begin_ns)


def boundary_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return both tables; empty ones for a run without boundary logs."""
    logs = read_logs(folder)
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    wire = Wire(folder / "tables") if logs else None
    for number, (log, other) in enumerate(_streams(logs)):
        same: Row = {"stream": number, "sender": log.host, "protocol": log.data["protocol"]}
        same |= {"receiver": other.host if other is not None else None}
        same |= {"sender_port": log.ends[0][1], "receiver_port": log.ends[1][1]}
        stream = _datagrams(log, other) if log.data["protocol"] == "udp" else _stream(log, other, wire)
        for name in TABLES:
            rows[name] += [{**same, **row} for row in stream[name]]
    return {
        name: pl.DataFrame(
            {
                column.name: pl.Series([row.get(column.name) for row in rows[name]], dtype=column.dtype)
                for column in columns
            }
        )
        for name, columns in TABLES.items()
    }


def _streams(logs: list[Log]) -> Iterator[tuple[Log, Log | None]]:
    """Yield each sender's log with the log of the other end: the n-th of a 4-tuple belongs to the n-th seen there."""
    for log in logs:
        if not log.calls("send") or not log.ends[1]:
            continue
        mine = [one for one in logs if one.ends == log.ends]
        theirs = [one for one in logs if one.ends == log.ends[::-1]]
        place = next(index for index, one in enumerate(mine) if one is log)
        yield log, theirs[place] if place < len(theirs) else None


class Wire:
    """The captures' tables, as far as logged streams need them."""

    def __init__(self, tables: Path) -> None:
        self._tables = tables
        path = tables / "connections.parquet"
        self._connections = pl.read_parquet(path) if path.exists() else pl.DataFrame()

    def find(self, log: Log, other: Log | None) -> tuple[Row, pl.DataFrame, str] | None:
        """Return the connection of a stream, its packets, and the sender's side in it; None if it was not captured."""
        if self._connections.is_empty():
            return None
        (local, local_port), (remote, remote_port) = log.ends
        for host in (log.host, *([other.host] if other is not None else [])):
            for side, peer in (("orig", "resp"), ("resp", "orig")):
                rows = self._connections.filter(
                    (pl.col("host") == host)
                    & (pl.col(f"{side}_addr") == local)
                    & (pl.col(f"{side}_port") == local_port)
                    & (pl.col(f"{peer}_addr") == remote)
                    & (pl.col(f"{peer}_port") == remote_port)
                    & (pl.col("start_ns") <= log.calls("send")[0][5])
                ).sort("start_ns")
                if rows.height:
                    row = rows.to_dicts()[-1]
                    packets = pl.scan_parquet(self._tables / "packets.parquet").filter(
                        (pl.col("host") == host) & (pl.col("connection") == row["id"])
                    )
                    return row, packets.sort("index").collect(), side
        return None


def _segments(row: Row, packets: pl.DataFrame, side: str) -> tuple[b.Segments, pl.DataFrame]:
    """Return the wire of one direction, and its segments that bring new bytes as rows in stream order."""
    peer = "resp" if side == "orig" else "orig"
    brings = pl.col("segment_class").cast(pl.String).is_in(WIRE_CLASSES) | pl.col("partial")
    frame = (
        packets.filter((pl.col("direction") == side) & (pl.col("payload_bytes") > 0) & brings)
        .with_columns(pl.col("relative_seq").cast(I64), pl.col("payload_bytes").cast(I64))
        .with_columns(_unwrapped("relative_seq").alias("start") - 1)
        .with_columns((pl.col("start") + pl.col("payload_bytes")).alias("end"))
        .sort("start", "index")
        # What a partial retransmission repeats was carried by the segment before it.
        .with_columns(pl.max_horizontal("start", pl.col("end").shift(1).cum_max().fill_null(0)).alias("start"))
        .filter(pl.col("end") > pl.col("start"))
    )
    acks = packets.filter((pl.col("direction") == peer) & pl.col("relative_ack").is_not_null()).with_columns(
        pl.col("relative_ack").cast(I64)
    )
    offered = [row[f"{who}_mss"] for who in (side, peer) if row[f"{who}_mss"] is not None]
    segments = b.Segments(
        units=b.Units.of(frame["start"].to_numpy(), frame["end"].to_numpy()),
        mss=min(offered) - TIMESTAMPS_BYTES * bool(row["timestamps"]) if offered else None,
        ack_t_ns=acks["t_ns"].to_numpy(),
        acked=acks.select(_unwrapped("relative_ack") - 1).to_series().to_numpy(),
    )
    return segments, frame


def _unwrapped(column: str) -> pl.Expr:
    """Numbers modulo 2^32 in the order of the capture, as offsets that go on growing."""
    step = pl.col(column).diff().fill_null(pl.col(column))
    nearest = (step + (1 << 31)).mod(1 << 32) - (1 << 31)
    return pl.when(pl.int_range(pl.len()) == 0).then(pl.col(column)).otherwise(nearest).cum_sum()


def _stream(log: Log, other: Log | None, wire: Wire | None) -> dict[str, list[Row]]:
    sends, recvs = log.calls("send"), other.calls("recv") if other is not None else []
    found = wire.find(log, other) if wire is not None else None
    segments, frame = _segments(*found) if found is not None else (None, None)
    void = frame is not None and bool(frame["super_segment"].any())
    options = [_options_at(log, call[4]) for call in sends]
    seen = b.find_boundaries(
        np.array(log.data["sent"], np.int64),
        b.Sends(
            units=_units(sends),
            t_ns=np.array([call[4] for call in sends], np.int64),
            nodelay=np.array([bool(one.get("nodelay")) for one in options]),
            cork=np.array([bool(one.get("cork")) for one in options]),
        ),
        None if void else segments,
        b.Recvs(units=_units(recvs), asked=np.array([call[3] for call in recvs], np.int64))
        if other is not None
        else None,
    )
    place: Row = {"connection": None, "vantage": None}
    if found is not None:
        place = {"connection": found[0]["id"], "vantage": found[0]["host"]}
    rows = _unit_rows("send", sends, seen.sends) + _unit_rows("recv", recvs, seen.recvs)
    if frame is not None:
        wired = [("segment", one["start"], one["end"] - one["start"], None, 0, one["t_ns"]) for one in frame.to_dicts()]
        rows += _unit_rows("segment", wired, seen.segments, frame["super_segment"].to_list())
    return {"messages": [{**place, **row} for row in _message_rows(log, other, seen)], "units": rows}


def _units(calls: Sequence[Sequence[Any]]) -> b.Units:
    starts = np.array([call[1] for call in calls], np.int64)
    return b.Units(starts=starts, ends=starts + np.array([call[2] for call in calls], np.int64))


def _options_at(log: Log, t_ns: int) -> Mapping[str, int]:
    """Return the options that held at a time; the first reading stands for all before it."""
    held = [values for since, values in log.data["options"] if since <= t_ns] or [
        values for _, values in log.data["options"][:1]
    ]
    return dict(held[-1]) if held else {}


def _word(words: Sequence[str], place: int) -> str | None:
    return words[place] if 0 <= place < len(words) else None


def _message_rows(log: Log, other: Log | None, seen: b.Boundaries) -> list[Row]:
    ends = log.data["sent"]
    taken = [0, *other.data["taken"]] if other is not None else []
    whole = set(pairwise(taken))
    rows = []
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        row: Row = {"message": number, "start": start, "end": end}
        for name, layer in (("send", seen.sends), ("segment", seen.segments), ("recv", seen.recvs)):
            if layer is not None:
                row[f"{name}_class"] = _word(b.CLASSES, layer.message_class[number])
                row[f"{name}s"] = int(layer.units_of_message[number])
                row[f"{name}_joined_by"] = _word(b.JOINED, layer.joined_by[number])
                row[f"{name}_split_by"] = _word(b.CUT, layer.cut_by[number])
        row["taken_whole"] = (start, end) in whole if other is not None else None
        rows.append(row)
    return rows


def _unit_rows(
    kind: str, calls: Sequence[Sequence[Any]], layer: b.Layer | None, supers: Sequence[bool] | None = None
) -> list[Row]:
    rows = []
    for number, (_, start, length, asked, _begin, t_ns, *_more) in enumerate(calls):
        row: Row = {"unit": kind, "number": number, "t_ns": t_ns, "start": start, "end": start + length, "asked": asked}
        row["super_segment"] = bool(supers and supers[number])
        if layer is not None and layer.unit_class[number] != b.UNSEEN:
            row["class"] = b.CLASSES[layer.unit_class[number]]
            row |= {"first_message": int(layer.first[number]), "last_message": int(layer.last[number])}
        rows.append(row)
    return rows


def _datagrams(log: Log, other: Log | None) -> dict[str, list[Row]]:
    """One direction of a UDP exchange: every send is a message; a recv is found by the number in its payload, or, where
    datagrams carry none, by its place."""
    sends, recvs = log.calls("send"), other.calls("recv") if other is not None else []
    by_number = {call[7] if call[7] is not None else place: place for place, call in enumerate(sends)}
    brought: dict[int, list[Sequence[Any]]] = {}
    units = []
    for place, call in enumerate(recvs):
        message = by_number.get(call[7] if call[7] is not None else place)
        row = {"unit": "recv", "number": place, "t_ns": call[5], "asked": call[3], "super_segment": False}
        if message is not None:
            brought.setdefault(message, []).append(call)
            start = sends[message][1]
            row |= {"start": start, "end": start + call[2], "first_message": message, "last_message": message}
            row["class"] = "split" if call[2] < call[6] else "aligned"
        units.append({"start": call[1], "end": call[1] + call[2], **row})
    messages = []
    for place, call in enumerate(sends):
        start, end = call[1], call[1] + call[2]
        same = {"start": start, "end": end}
        alike = {"first_message": place, "last_message": place, "class": "aligned", "super_segment": False}
        units.append({"unit": "send", "number": place, "t_ns": call[5], "asked": call[3], **alike, **same})
        got = brought.get(place, [])
        cut = any(one[2] < one[6] for one in got)
        row = {"message": place, **same, "sends": 1, "send_class": "aligned"}
        if other is not None:
            row |= {"recvs": len(got), "recv_class": ("split" if cut else "aligned") if got else None}
            row |= {"recv_split_by": "recv_size" if cut else None, "taken_whole": bool(got) and not cut}
        messages.append(row)
    return {"messages": messages, "units": units}
