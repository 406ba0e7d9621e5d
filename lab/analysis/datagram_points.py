"""Numbered datagrams on their way, point by point, as the table `datagram_points`.

Goes in: a run folder with the captures, their `packets` table, and boundary logs where programs kept them. Comes out:
one row for each stream (one direction of a flow whose datagrams carry numbers, `lab/inside/numbered.py`) and point, in
the order of the way:

    send       the sending program's send calls         by its boundary log
    sender     the sender's interface                   by its host's capture
    receiver   the receiver's interface                 by its host's capture
    recv       the receiving program's recv calls       by its boundary log

Between two points nothing is guessed: what `sender` saw and `receiver` did not was lost on the wire; what `receiver`
saw and `recv` did not was lost in the receiver's kernel, whose counters must know of it (Udp.RcvbufErrors). A point
that is not known has no row: no capture at that host, no log, or a log that left calls out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis.boundary_tables import Log, read_logs
from lab.analysis.capture_file import Batch, CaptureReader
from lab.analysis.datagram_order import Seen, jitter, lost, order
from lab.analysis.tables import Column, schema
from lab.errors import CaptureFileBroken
from lab.inside.numbered import HEAD, MOST, NUMBER_DIGITS

I64, U32, TEXT = pl.Int64, pl.UInt32, pl.String
POINTS = ("send", "sender", "receiver", "recv")
FIRST = "this is the first known point"
FEW = "fewer than two datagrams whose time there is known"

DATAGRAM_POINTS = (
    Column("stream", U32, "", "number of the stream, from 0"),
    Column("sender", TEXT, "", "host that sent it", "no host of the lab has the address"),
    Column("receiver", TEXT, "", "host it was sent to", "as sender"),
    Column("sender_addr", TEXT, "", "source address"),
    Column("sender_port", U32, "", "source port"),
    Column("receiver_addr", TEXT, "", "destination address"),
    Column("receiver_port", U32, "", "destination port"),
    Column("point", TEXT, "", "send, sender, receiver, recv: where on the way"),
    Column("datagrams", U32, "", "datagrams seen there, copies too"),
    Column("distinct", U32, "", "different numbers among them"),
    Column("missing", U32, "", "numbers between the lowest and the highest that were never seen there (RFC 3550 A.3)"),
    Column("since", TEXT, "", "the known point before, which `lost` and `hop_jitter_ns` compare with", FIRST),
    Column("lost", U32, "", "numbers seen at `since` and not here", FIRST),
    Column("duplicated", U32, "", "datagrams whose number had come before"),
    Column("reordered", U32, "", "first copies whose number is below one that came before (RFC 4737)"),
    Column("extent", U32, "", "most places that one came behind the first it should precede (RFC 4737 4.2.1)"),
    Column("truncated", U32, "", "datagrams whose end a recv's buffer cut", "not a recv"),
    Column("jitter_ns", I64, "ns", "jitter after the last one, against the time it was sent (RFC 3550 6.4.1)", FEW),
    Column("jitter_max_ns", I64, "ns", "the most it ever was", FEW),
    Column("hop_jitter_ns", I64, "ns", "the same against the time at `since`", FEW),
)
TABLES = {"datagram_points": DATAGRAM_POINTS}
Key = tuple[str, int, str, int]
"""Source address and port, destination address and port."""
_ETHERNET = 1
_HEADERS = ("src_addr", "src_port", "dst_addr", "dst_port")


@dataclass(kw_only=True)
class _Way:
    """One stream."""

    points: dict[str, Seen] = field(default_factory=dict)
    stamps: Seen | None = None
    """When the sender says each was sent, in the datagrams themselves."""
    truncated: int = 0


def datagram_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the table; empty for a run without numbered datagrams."""
    hosts = _hosts_by_address(folder)
    ways: dict[Key, _Way] = {}
    for log in read_logs(folder):
        if log.data["protocol"] == "udp" and log.ends[1] and not log.data["left_out"]:
            _add_log(ways, log)
    for capture in sorted((folder / "captures").glob("*.pcapng")):
        for key, seen, stamps in _captured(folder, capture):
            way = ways.setdefault(key, _Way())
            if hosts.get(key[0]) == capture.stem:
                way.points["sender"] = seen
            elif hosts.get(key[2]) == capture.stem:
                way.points["receiver"] = seen
            way.stamps = way.stamps or stamps
    rows = [
        {"stream": number, "sender": hosts.get(key[0]), "receiver": hosts.get(key[2]), **dict(_named(key)), **row}
        for number, (key, way) in enumerate(sorted(ways.items()))
        for row in _rows(way)
    ]
    return {name: pl.DataFrame(rows, schema=schema(columns)) for name, columns in TABLES.items()}


def _named(key: Key) -> Iterator[tuple[str, str | int]]:
    return zip(("sender_addr", "sender_port", "receiver_addr", "receiver_port"), key, strict=True)


def _rows(way: _Way) -> Iterator[dict[str, Any]]:
    sent = way.points.get("send") or way.stamps
    since = None
    for point in POINTS:
        seen = way.points.get(point)
        if seen is None:
            continue
        told = order(seen)
        whole = jitter(sent, seen) if sent is not None and point != "send" else None
        hop = jitter(way.points[since], seen) if since else None
        yield {
            "point": point,
            "datagrams": told.datagrams,
            "distinct": told.distinct,
            "missing": told.missing,
            "since": since,
            "lost": lost(way.points[since], seen) if since else None,
            "duplicated": told.duplicated,
            "reordered": told.reordered,
            "extent": told.extent,
            "truncated": way.truncated if point == "recv" else None,
            "jitter_ns": whole[0] if whole else None,
            "jitter_max_ns": whole[1] if whole else None,
            "hop_jitter_ns": hop[0] if hop else None,
        }
        since = point


def _add_log(ways: dict[Key, _Way], log: Log) -> None:
    """Note what one end's log says of the stream it sent and the one it got."""
    (local, local_port), (remote, remote_port) = log.ends
    for kind, key, at in (
        ("send", (local, local_port, remote, remote_port), 4),
        ("recv", (remote, remote_port, local, local_port), 5),
    ):
        calls = [call for call in log.calls(kind) if call[7] is not None]
        if not calls:
            continue
        way = ways.setdefault(key, _Way())
        way.points[kind] = Seen.of([call[7] for call in calls], [call[at] for call in calls])
        if kind == "recv":
            way.truncated += sum(call[2] < call[6] for call in calls)


def _hosts_by_address(folder: Path) -> dict[str, str]:
    topology = json.loads((folder / "topology.json").read_text())
    return {i["address"]: host["name"] for host in topology["hosts"] for i in host["interfaces"]}


def _captured(folder: Path, capture: Path) -> Iterator[tuple[Key, Seen, Seen | None]]:
    """Yield each stream of one capture: its ends, what was seen of it, and the stamps in it."""
    packets = pl.scan_parquet(folder / "tables" / "packets.parquet").filter(
        (pl.col("host") == capture.stem)
        & (pl.col("protocol") == 17)
        & pl.col("src_port").is_not_null()
        & ~pl.col("capture_duplicate")
    )
    udp = packets.select("index", "t_ns", *_HEADERS).collect()
    if udp.is_empty():
        return
    numbered = udp.join(_numbers(capture), on="index").sort("t_ns", "index")
    for ends, rows in numbered.partition_by(_HEADERS, as_dict=True).items():
        seen = Seen(numbers=rows["number"].to_numpy(), t_ns=rows["t_ns"].to_numpy())
        stamped = rows.filter(pl.col("stamp_ns").is_not_null())
        stamps = Seen(numbers=stamped["number"].to_numpy(), t_ns=stamped["stamp_ns"].to_numpy())
        yield ends, seen, stamps if stamped.height else None


def _numbers(capture: Path) -> pl.DataFrame:
    """Return `index`, `number` and `stamp_ns` (null: it has none) of every numbered datagram of a capture file."""
    parts, index = [], 0
    reader = CaptureReader(capture)
    try:
        for batch in reader.batches():
            ethernet = np.array([one.linktype == _ETHERNET for one in reader.interfaces], np.bool_)
            parts.append(_numbers_of(batch, ethernet, index))
            index += batch.count
    except CaptureFileBroken:
        pass  # what came before is good; the captures table tells of the break
    return pl.concat(parts) if parts else pl.DataFrame(schema={"index": pl.UInt64, "number": I64, "stamp_ns": I64})


def _numbers_of(batch: Batch, ethernet: npt.NDArray[np.bool_], first: int) -> pl.DataFrame:
    """Read the start of every UDP payload of a batch, all at once."""
    frames, buffer = batch.frames, batch.buffer
    start, end = frames.offset[: batch.count], frames.offset[: batch.count] + frames.captured[: batch.count]

    def byte(at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return buffer[np.minimum(at, buffer.size - 1)].astype(np.int64)

    def pair(at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return byte(at) << 8 | byte(at + 1)

    tagged = pair(start + 12) == 0x8100
    kind_at = start + 12 + 4 * tagged
    kind, ip = pair(kind_at), kind_at + 2
    ipv4 = (kind == 0x0800) & (byte(ip + 9) == 17) & (pair(ip + 6) & 0x1FFF == 0)  # a later fragment has no header
    ipv6 = (kind == 0x86DD) & (byte(ip + 6) == 17)
    payload = ip + np.where(ipv4, (byte(ip) & 0x0F) * 4, 40) + 8
    udp = (ipv4 | ipv6) & ethernet[frames.interface[: batch.count]] & (payload + NUMBER_DIGITS <= end)
    places, payload, end = np.flatnonzero(udp), payload[udp], end[udp]
    heads = byte(payload[:, None] + np.arange(HEAD.size))
    digits = ((heads[:, :NUMBER_DIGITS] >= 48) & (heads[:, :NUMBER_DIGITS] <= 57)).all(axis=1)
    decimal = (heads[:, :NUMBER_DIGITS] - 48) @ (10 ** np.arange(NUMBER_DIGITS - 1, -1, -1))
    weights = np.array([1 << shift for shift in range(56, -8, -8)], np.uint64)
    binary, stamp = ((heads[:, half : half + 8].astype(np.uint64) * weights).sum(axis=1) for half in (0, 8))
    with_head = ~digits & (payload + HEAD.size <= end) & (binary < MOST)
    frame = pl.DataFrame(
        {
            "index": (places + first).astype(np.uint64),
            "number": np.where(digits, decimal, np.where(with_head, binary, 0).astype(np.int64)),
            "stamp_ns": np.where(with_head, stamp, 0).astype(np.int64),
            "stamped": with_head,
        }
    )
    return frame.filter(pl.Series(digits | with_head)).select(
        "index", "number", pl.when("stamped").then("stamp_ns").alias("stamp_ns")
    )
