"""A connection in which every way to join and to cut a message happens once, as a capture and two logs made by hand.

The client sends six messages of 100, 100, 100, 3000, 100 and 50 bytes; the MSS is 1460. On paper, by stream offset:

    messages   0   100 200 300                           3300 3400 3450
    sends      |-A-|-B-|-C-|-------------- D -------------|-- EF --|
    segments   |---|-------|--- 1460 ---|--- 1460 ---|-----------|
    recvs      |---|-------|-- 1024 --|-----------------|--------|
               0  100     300        1324 (1760)       3220     3450

The server answers with two messages of 50 bytes in two segments, and the client reads them with one recv.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.analysis import analyze, write_parquet
from tests.pcaps.craft import MILLISECOND, START_NS, Ladder

CLIENT, SERVER = ("10.0.0.1", 40_000), ("10.0.0.2", 80)
OPTIONS = {"nodelay": 0, "cork": 0, "maxseg": 1460, "sndbuf": 87040, "rcvbuf": 131072}


def call(kind: str, start: int, length: int, *, at_ms: float, asked: int | None = None) -> list[Any]:
    """A logged call that began and returned `at_ms` after the capture's first moment."""
    t_ns = START_NS + int(at_ms * MILLISECOND)
    return [kind, start, length, length if asked is None else asked, t_ns, t_ns]


def log(
    local: tuple[str, int], remote: tuple[str, int], calls: list[Any], *, sent: list[int], taken: list[int], **more: Any
) -> dict[str, Any]:
    """One connection of a boundary log."""
    same = {"protocol": "tcp", "local": local, "remote": remote, "left_out": 0, "options": [[START_NS, OPTIONS]]}
    return {**same, "calls": calls, "sent": sent, "taken": taken, **more}


def client_log(**more: Any) -> dict[str, Any]:
    calls = [
        call("send", 0, 100, at_ms=3.5),
        call("send", 100, 100, at_ms=4.1),
        call("send", 200, 100, at_ms=4.2),
        call("send", 300, 3000, at_ms=6.5),
        call("send", 3300, 150, at_ms=6.6),
        call("recv", 0, 100, at_ms=30, asked=4096),
    ]
    return log(CLIENT, SERVER, calls, sent=[100, 200, 300, 3300, 3400, 3450], taken=[100], **more)


def server_log(**more: Any) -> dict[str, Any]:
    calls = [
        call("recv", 0, 100, at_ms=4.1, asked=1024),
        call("recv", 100, 200, at_ms=6.1, asked=1024),
        call("recv", 300, 1024, at_ms=8.5, asked=1024),
        call("recv", 1324, 1896, at_ms=8.6, asked=4096),
        call("recv", 3220, 230, at_ms=10.1, asked=4096),
        call("send", 0, 50, at_ms=11.5),
        call("send", 50, 50, at_ms=13.5),
    ]
    return log(SERVER, CLIENT, calls, sent=[50, 100], taken=[100, 300, 1324, 3220, 3450], **more)


def ladder() -> Ladder:
    """The capture: segments, and one of them twice, which carries nothing new."""
    wire = Ladder()
    wire.handshake()  # at 1, 2 and 3 ms
    wire.a("PA", 1, ack=1, data=b"a" * 100)  # 4 ms: A
    wire.b("A", 1, ack=101)
    wire.a("PA", 101, ack=1, data=b"b" * 200)  # 6 ms: B and C, sent at 4.1 and 4.2 ms, before the acknowledgement
    wire.a("A", 301, ack=1, data=b"d" * 1460)
    wire.a("A", 1761, ack=1, data=b"d" * 1460)
    wire.b("A", 1, ack=3221)
    wire.a("PA", 3221, ack=1, data=b"e" * 230)  # 10 ms: the rest of D, then E and F, sent before the acknowledgement
    wire.b("A", 1, ack=3451)
    wire.b("PA", 1, ack=3451, data=b"x" * 50)
    wire.a("A", 3451, ack=51)
    wire.b("PA", 51, ack=3451, data=b"y" * 50)
    wire.a("PA", 3221, ack=51, data=b"e" * 230)  # again
    wire.a("A", 3451, ack=101)
    return wire


def write_run(folder: Path, *, client: dict[str, Any], server: dict[str, Any] | None, wire: Ladder | None) -> Path:
    """Write as much of a run folder as the boundary tables read."""
    for host, one in (("client", client), ("server", server)):
        (folder / "hosts" / host).mkdir(parents=True)
        if one is not None:
            file = folder / "hosts" / host / "boundaries-actor.json"
            file.write_text(json.dumps({"program": "actor", "connections": [one]}))
    tables = folder / "tables"
    tables.mkdir()
    if wire is not None:
        wire.save(folder / "make.py")
        write_parquet(analyze([folder / "input.pcap"]), tables)
        import polars as pl

        for name in ("connections", "packets"):
            path = tables / f"{name}.parquet"
            frame = pl.read_parquet(path).select(pl.lit("client").alias("host"), pl.all())
            frame.write_parquet(path)
    return folder
