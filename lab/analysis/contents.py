"""What was said on the wire: the messages of every connection, cut out of its captured streams, with their text.

Goes in: a run folder (its captures, the packets table, the framing in `manifest.json`). Comes out: a table with one row
a message, in the order they were complete:

    host         text  the vantage
    connection   u32   id of its connection there
    direction    text  orig: a question; resp: an answer
    number       u32   its place in its stream, from 0
    t_ns         i64   when the last of its bytes was captured, since 1970
    text         text  its content without the framing; bytes that are no UTF-8 as \\xNN

A stream is put together from segments as their receiver does it: by offset, each byte once. Its messages end where the
fleet's framing says; without a framing a segment is taken for a message, which is what a program without one does too.

It reads the payload of every packet, which the other tables do without, so it is made only where somebody asks for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from lab.analysis.capture_file import raw_packets
from lab.inside.framing import FramingError, parse_framing

SCHEMA = {
    "host": pl.String,
    "connection": pl.UInt32,
    "direction": pl.String,
    "number": pl.UInt32,
    "t_ns": pl.Int64,
    "text": pl.String,
}
ETHERTYPE_IPV4 = b"\x08\x00"


@dataclass(frozen=True)
class Contents:
    """The messages, and what is not known of them."""

    messages: pl.DataFrame
    cut: int
    """Packets whose payload is not whole in the file: their streams end there."""


@dataclass(frozen=True)
class _Segment:
    start: int
    """Its offset in the stream."""
    data: bytes
    whole: int
    """Bytes of payload it had on the wire."""
    t_ns: int


def read_contents(folder: Path, hosts: list[str]) -> Contents:
    """Read what passed the captured `hosts` of a run."""
    manifest = json.loads((folder / "manifest.json").read_text())
    framing_text = manifest["fleet"]["message"]["framing"] if manifest.get("fleet") else "none"
    rows: list[tuple[str, int, str, int, int, str]] = []
    cut = 0
    for host in hosts:
        for (connection, direction), segments in _streams(folder, host).items():
            cut += sum(len(one.data) < one.whole for one in segments)
            side = "server" if direction == "orig" else "client"
            messages = _messages(segments, framing_text, side)
            rows += [(host, connection, direction, number, *message) for number, message in enumerate(messages)]
    return Contents(pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("t_ns", maintain_order=True), cut)


def _streams(folder: Path, host: str) -> dict[tuple[int, str], list[_Segment]]:
    """The segments with payload of each stream, by connection and direction, in the order of the stream."""
    packets = (
        pl.scan_parquet(folder / "tables" / "packets.parquet")
        .filter((pl.col("host") == host) & (pl.col("payload_bytes") > 0) & pl.col("connection").is_not_null())
        .filter(pl.col("relative_seq").is_not_null() & ~pl.col("capture_duplicate"))
        .select("index", "t_ns", "connection", "direction", "relative_seq", "payload_bytes")
        .sort("index")
        .collect()
    )
    streams: dict[tuple[int, str], list[_Segment]] = {}
    wanted = packets["index"].cast(pl.Int64).to_numpy()
    raw = raw_packets(folder / "captures" / f"{host}.pcapng", np.asarray(wanted))
    for row, packet in zip(packets.iter_rows(named=True), raw, strict=False):
        # The SYN takes number 0 of the stream, so its first byte is number 1.
        start, whole = row["relative_seq"] - 1, row["payload_bytes"]
        segment = _Segment(start, _payload(packet.data)[:whole], whole, row["t_ns"])
        streams.setdefault((row["connection"], row["direction"]), []).append(segment)
    return {stream: sorted(segments, key=lambda one: one.start) for stream, segments in streams.items()}


def _payload(frame: bytes) -> bytes:
    """What follows the TCP header of an Ethernet frame with IPv4; nothing where it is no such frame."""
    if frame[12:14] != ETHERTYPE_IPV4 or len(frame) < 54:
        return b""
    tcp = 14 + (frame[14] & 0x0F) * 4
    end = 14 + int.from_bytes(frame[16:18], "big")  # short frames are padded behind the packet
    return frame[tcp + (frame[tcp + 12] >> 4) * 4 : end]


def _messages(segments: list[_Segment], framing_text: str, side: str) -> list[tuple[int, str]]:
    """Cut one stream into messages: (time, text). It ends at a byte that is not known, or that breaks the framing."""
    framing = parse_framing(framing_text, side=side)
    decoder = framing.decoder()
    messages: list[tuple[int, str]] = []
    known = 0
    for segment in segments:
        if segment.start > known:
            break
        fresh = segment.data[known - segment.start :]
        known += len(fresh)
        try:
            whole = decoder.feed(fresh) if fresh else []
        except FramingError as error:
            whole = error.messages
            known = -1  # nothing after this can be trusted
        messages += [(segment.t_ns, one.decode("utf-8", "backslashreplace")) for one in whole]
        if known < 0 or len(segment.data) < segment.whole:
            break
    return messages
