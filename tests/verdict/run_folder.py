"""A run folder made by hand: the smallest that the verdict can be judged from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

COUNTERS = ("Tcp.InSegs", "Tcp.OutSegs", "Tcp.RetransSegs", "TcpExt.ListenOverflows")

CONNECTIONS = pl.DataFrame(
    {
        "host": ["server"] * 4,
        "id": [0, 1, 2, 3],
        "handshake": ["complete", "complete", "complete", "incomplete"],
        "handshake_reason": [None, None, None, "refused"],
        "teardown": ["fin4", "fin3", "reset", None],
        "reset": [None, None, "abort", "refuse"],
        "active_closer": ["orig", "orig", None, None],
        "resp_addr": ["10.0.0.2"] * 4,
        "syn_ack_count": [1, 2, 1, 0],
        "orig_bytes": [64, 64, 64, 0],
        "resp_bytes": [64, 64, 0, 0],
        "orig_retransmissions": [0, 1, 0, 0],
        "resp_retransmissions": [0, 0, 2, 0],
    }
)


def expectation(what: str, **given: Any) -> dict[str, Any]:
    """Return a resolved expectation as a manifest holds it."""
    row = {"what": what, "at": "server", "query": None, "because": None, "unit": "count"}
    return {**row, "equal": None, "at_least": None, "at_most": None, **given}


def make_run(
    folder: Path,
    *expectations: dict[str, Any],
    dropped: int = 0,
    fleet: dict[str, Any] | None = None,
    kernel: tuple[int, int] = (10, 8),
    last_ns: int = 1_900,
    capture_filter: str = "tcp port 9000",
) -> Path:
    """Write a run folder: one server host (captured), one client host, four connections, 10 segments in and 8 out.

    Counters were read at 1,000 and at 2,000 ns; the last segment out passed at `last_ns`.
    """
    client = {"opened": 3, "errors": {"ECONNREFUSED": 1}, "arrivals": {"not_started": 0}, "phases": []}
    capture = {"interfaces": {"eth0": {"received": 18, "dropped": dropped, "written": 18 - dropped}}}
    # One of the segments out is a retransmission, and one a SYN-ACK sent again, which the kernel counts twice.
    counters = [
        {"t_ns": 1_000, "counters": {"Tcp.InSegs": 100, "Tcp.OutSegs": 100}},
        {
            "t_ns": 2_000,
            "counters": {"Tcp.InSegs": 100 + kernel[0], "Tcp.OutSegs": 99 + kernel[1], "Tcp.RetransSegs": 2},
        },
    ]
    files: dict[str, Any] = {
        "manifest.json": {
            "scenario": "made",
            "run": "r1",
            "engine": "netns",
            "server_host": "server",
            "server": {"port": 9000},
            "captures": [{"host": "server", "filter": capture_filter}],
            "requested_s": 1.0,
            "expectations": list(expectations),
        },
        "topology.json": {
            "hosts": [
                {"name": "server", "interfaces": [{"address": "10.0.0.2"}]},
                {"name": "client", "interfaces": [{"address": "10.0.0.3"}]},
            ],
            "programs": [
                {"host": "server", "role": "capture"},
                {"host": "server", "role": "server"},
                {"host": "client", "role": "fleet"},
            ],
        },
        "hosts/client/fleet.json": client if fleet is None else fleet,
        "hosts/server/server.json": {
            "accepted": 3,
            "messages": 4,
            "usage": {"cpu_user_ns": 3_000_000, "cpu_system_ns": 1_000_000},
        },
        "hosts/server/capture.json": capture,
        "hosts/server/host.json": {"counters_first": dict.fromkeys(COUNTERS, 0)},
        "hosts/server/observed.json": {"counters": counters, "usage": {}},
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
    tables = folder / "tables"
    tables.mkdir()
    CONNECTIONS.write_parquet(tables / "connections.parquet")
    pl.DataFrame(
        {
            "host": ["server"] * 18,
            "t_ns": [*range(1_001, 1_018), last_ns],
            "protocol": [6] * 18,
            "src_addr": ["10.0.0.3"] * 10 + ["10.0.0.2"] * 8,
            "dst_addr": ["10.0.0.2"] * 10 + ["10.0.0.3"] * 8,
        }
    ).write_parquet(tables / "packets.parquet")
    return folder
