"""What a script's steps gave, as tables: `steps`, `calls` and `sockets`.

Goes in: a run folder (the script in `manifest.json`, each program's `actor.json`, `crafter.json`, `switch.json`). Comes
out: one row a step of the script, made or not; one row a send or recv call; one row a socket seen by a look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis.tables import Column
from lab.inside.script.tcp_info import FIELDS

NOT_MADE = "not made"
I64, U32, TEXT, FLAG = pl.Int64, pl.UInt32, pl.String, pl.Boolean

STEPS = (
    Column("index", U32, "", "place in the script, from 0"),
    Column("host", TEXT, "", "the host it was made at", "a phase of the fleet"),
    Column("do", TEXT, "", "what it does: connect, send, await, ..."),
    Column("label", TEXT, "", "its name in the script", "it has none"),
    Column("socket", TEXT, "", "the socket it was made on", "on none"),
    Column("begin_ns", I64, "ns", "when it began, since 1970", "not made"),
    Column("end_ns", I64, "ns", "when it ended", "not made, or never ended"),
    Column("duration_ns", I64, "ns", "how long it took", "as end_ns"),
    Column("bytes", I64, "bytes", "payload it moved", "not made"),
    Column("calls", U32, "", "send or recv calls it made", "not made"),
    Column("messages", U32, "", "whole messages that a framed recv gave", "no framed recv"),
    Column("truncated", U32, "", "datagrams that its buffer cut", "no recv of datagrams"),
    Column("outcome", TEXT, "", "ok, an errno, eof, blocks, differs, begun (never ended), not made"),
    Column("errno", TEXT, "", "name of the errno that it gave", "no errno"),
    Column("gives", TEXT, "", "the outcome that the script wants"),
    Column("as_written", FLAG, "", "it ended as the script says"),
    Column("state", TEXT, "", "state of the socket that an await saw last", "no await"),
    Column("seq", I64, "", "sequence number of a hand-made segment, or of one that came", "no segment"),
    Column("ack", I64, "", "its acknowledgement number", "no segment"),
    Column("frames", U32, "", "frames that its switch had passed on by then", "no switch"),
    Column("moves", U32, "", "how often that switch saw a station at another port than before", "no switch"),
    Column("error", TEXT, "", "why it ended so", "nothing to say"),
)

CALLS = (
    Column("index", U32, "", "the step that made the call"),
    Column("host", TEXT, "", "its host"),
    Column("do", TEXT, "", "send or recv"),
    Column("label", TEXT, "", "the step's name", "it has none"),
    Column("socket", TEXT, "", "the socket"),
    Column("offset", I64, "bytes", "where in the stream its bytes begin, from 0"),
    Column("bytes", I64, "bytes", "how many it moved"),
    Column("t_ns", I64, "ns", "when the call returned, since 1970"),
)

SOCKETS = (
    Column("index", U32, "", "the look's step"),
    Column("host", TEXT, "", "the host looked at"),
    Column("label", TEXT, "", "the look's name"),
    Column("t_ns", I64, "ns", "when, since 1970"),
    Column("socket", TEXT, "", "its name in the script", "it has none, or none any more"),
    Column("state", TEXT, "", "RFC 9293's name"),
    Column("local_addr", TEXT, "", "its own address"),
    Column("local_port", U32, "", "its own port"),
    Column("remote_addr", TEXT, "", "the other end's; 0.0.0.0 of a listening socket"),
    Column("remote_port", U32, "", "the other end's"),
    Column("send_queue", I64, "bytes", "sent or to be sent, and not acknowledged"),
    Column(
        "recv_queue", I64, "bytes", "come and not received by the program; of a listening socket: connections to accept"
    ),
    Column("timer", TEXT, "", "what the kernel waits for: none, retransmit, keepalive, time-wait, probe"),
    Column("retransmits", U32, "", "timeouts in a row without an answer"),
    Column("probes", U32, "", "probes in a row without an answer"),
    *(Column(name, I64, "", "TCP_INFO of that name", "not a socket the script still holds") for name in FIELDS),
)

TABLES = {"steps": STEPS, "calls": CALLS, "sockets": SOCKETS}


def script_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the three tables; empty ones for a run without a script."""
    script = json.loads((folder / "manifest.json").read_text()).get("script") or []
    made = {row["index"]: row for row in _rows(folder)}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for index, written in enumerate(script):
        if "at" not in written:
            continue  # a phase of the fleet: the fleet's results tell of it
        row = made.get(index)
        step = {"index": index, "host": written["at"], "do": written["do"], "label": written.get("as")}
        if row is None:
            gives = written.get("gives", "ok")
            rows["steps"].append(
                {**step, "socket": written.get("socket"), "outcome": NOT_MADE, "gives": gives, "as_written": False}
            )
            continue
        rows["steps"].append({**row, **step, **_derived(row)})
        for offset, length, t_ns in row["calls"]:
            call = {"do": written["do"], "socket": row["socket"], "offset": offset, "bytes": length, "t_ns": t_ns}
            rows["calls"].append({**step, **call})
        for one in row.get("sockets", ()):
            rows["sockets"].append({**step, "t_ns": row["end_ns"], **one})
    return {name: _frame(rows[name], columns) for name, columns in TABLES.items()}


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for program in ("actor", "crafter", "switch"):
        for path in sorted((folder / "hosts").glob(f"*/{program}.json")):
            yield from json.loads(path.read_text())["steps"]


def _derived(row: dict[str, Any]) -> dict[str, Any]:
    outcome = row["outcome"]
    return {
        "duration_ns": None if row["end_ns"] is None else row["end_ns"] - row["begin_ns"],
        "calls": len(row["calls"]),
        "errno": outcome if outcome.startswith("E") else None,
    }


def _frame(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        {column.name: pl.Series([row.get(column.name) for row in rows], dtype=column.dtype) for column in columns}
    )
