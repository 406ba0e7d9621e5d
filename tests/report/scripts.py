"""Connections written down as scripts, and run folders made of them: what the tests of the report share.

A script is one segment a line, `<microseconds> <direction> <control bits> <seq> <ack> <length>`, in relative numbers:

       0 > SYN      0 -
      20 < SYN-ACK  0 1
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from lab.report.steps import Endpoint, Step, steps

BITS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16}
START_NS = 1_780_000_000_000_000_000
CLIENT = Endpoint(host="client-1", address="10.64.0.11", port=40001)
SERVER = Endpoint(host="server", address="10.64.0.2", port=9000)

HANDSHAKE = """
       0 > SYN      0 -
      20 < SYN-ACK  0 1
      50 > ACK      1 1
"""
EXCHANGE = """
     100 > PSH+ACK  1 1 64
     120 < ACK      1 65
     150 < PSH+ACK  1 65 64
     170 > ACK     65 65
"""
FIN4 = """
    1000 > FIN+ACK 65 65
    1020 < ACK     65 66
    1500 < FIN+ACK 65 66
    1520 > ACK     66 66
"""
FIN3 = """
    1000 > FIN+ACK 65 65
    1020 < FIN+ACK 65 66
    1040 > ACK     66 66
"""


def rows(
    script: str, *, connection: int = 0, port: int = CLIENT.port, start_ns: int = START_NS, isn: int = 4_294_967_290
):
    """The script's segments as rows of the packets table; `isn` lies so that sequence numbers pass 2^32 soon."""
    result: list[dict[str, Any]] = []
    for line in filter(str.strip, script.splitlines()):
        time_us, direction, names, seq, ack, *rest = line.split()
        flags = sum(BITS[name] for name in names.replace("-", "+").split("+"))
        client, server = (CLIENT.address, port), (SERVER.address, SERVER.port)
        source, destination = (client, server) if direction == ">" else (server, client)
        own, others = (isn, 1000) if direction == ">" else (1000, isn)
        result.append(
            {
                "index": len(result),
                "t_ns": start_ns + int(time_us) * 1000,
                "src_addr": source[0],
                "dst_addr": destination[0],
                "src_port": source[1],
                "dst_port": destination[1],
                "protocol": 6,
                "tcp_flags": flags,
                "seq": (own + int(seq)) % 2**32,
                "ack": 0 if ack == "-" else (others + int(ack)) % 2**32,
                "window": 64240 if flags & 2 else 502,
                "payload_bytes": int(rest[0]) if rest else 0,
                "connection": connection,
                "direction": "orig" if direction == ">" else "resp",
                "segment_class": "retransmission" if rest[1:] == ["again"] else "new",
            }
        )
    return result


def walked(*scripts: str) -> list[Step]:
    """The steps of the connection that the scripts make."""
    return steps(pl.DataFrame(rows("".join(scripts))), 0)


def connection_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of the connections table: an orderly one of 1.52 ms, but for `changes`."""
    row = {
        "host": "server",
        "id": number,
        "orig_addr": CLIENT.address,
        "orig_port": 40001 + number,
        "resp_addr": SERVER.address,
        "resp_port": SERVER.port,
        "start_ns": START_NS + number * 1_000_000,
        "duration_ns": 1_520_000,
        "handshake": "complete",
        "handshake_reason": None,
        "teardown": "fin4",
        "reset": None,
        "active_closer": "orig",
        "history": "ShADadFaf",
        "conn_state": "SF",
        "orig_packets": 6,
        "resp_packets": 5,
        "orig_bytes": 64,
        "resp_bytes": 64,
        "orig_retransmissions": 0,
        "resp_retransmissions": 0,
        "orig_zero_windows": 0,
        "resp_zero_windows": 0,
        "syn_ack_rtt_ns": 20_000 + number * 1000,
    }
    return {**row, **changes}


def write_run(root: Path, *, connections: int = 10) -> Path:
    """Write the folder of a run in which one fleet host opened `connections` to an epoll server; returns it."""
    folder = root / "runs" / "small" / "20261123T150000Z-abcdef"
    for part in ("hosts/server", "hosts/client-1", "captures", "tables"):
        (folder / part).mkdir(parents=True)
    (folder / "captures" / "server.pcapng").touch()

    def write(name: str, data: Any) -> None:
        (folder / name).write_text(json.dumps(data))

    def host(name: str, address: str) -> dict[str, Any]:
        interface = {"name": "eth0", "network": "lan", "address": address, "prefix": 24}
        return {"name": name, "interfaces": [interface], "sysctls": {}, "cpus": None, "memory_bytes": None}

    def program(host_name: str, role: str) -> dict[str, Any]:
        return {"host": host_name, "role": role, "module": "m", "arguments": [], "image": "host", "capabilities": []}

    programs = [("server", "capture"), ("server", "server"), ("client-1", "fleet")]
    write(
        "topology.json",
        {
            "scenario": "small",
            "networks": [{"name": "lan", "subnet": "10.64.0.0/24", "mtu": 1500}],
            "hosts": [host("server", SERVER.address), host("client-1", CLIENT.address)],
            "programs": [{**program(*p), "nofile": None} for p in programs],
            "arithmetic": [],
        },
    )
    write("manifest.json", manifest(connections))
    write("verdict.json", verdict(connections))
    fleet = dict.fromkeys(("opened", "open_at_once", "answered", "closed", "sent", "received"), connections)
    write("hosts/client-1/fleet.json", {**fleet, "errors": {}, "wrong_answers": 0, "not_started": 0})
    usage = {"cpu_user_ns": 600_000, "cpu_system_ns": 400_000, "rss_peak_bytes": 12 << 20}
    write(
        "hosts/server/server.json", {"model": "epoll", "messages": connections, "accepted": connections, "usage": usage}
    )
    interface = {"received": 11 * connections, "dropped": 0, "written": 11 * connections}
    write("hosts/server/capture.json", {"interfaces": {"eth0": interface}})
    packets = [
        {**row, "host": "server"}
        for number in range(connections)
        for row in rows(
            HANDSHAKE + EXCHANGE + FIN4, connection=number, port=40001 + number, start_ns=START_NS + number * 1_000_000
        )
    ]
    pl.DataFrame(packets).write_parquet(folder / "tables" / "packets.parquet")
    table = [connection_row(number, duration_ns=1_520_000 + number) for number in range(connections)]
    pl.DataFrame(table, infer_schema_length=None).write_parquet(folder / "tables" / "connections.parquet")
    series = [{"series": name, "p50": 40_000.0, "p99": 90_000.0, "max": 120_000.0} for name in ("connect", "service")]
    pl.DataFrame(series).write_parquet(folder / "tables" / "latency_summary.parquet")
    return folder


def manifest(connections: int) -> dict[str, Any]:
    return {
        "scenario": "small",
        "title": "A few connections",
        "lesson": "Predict: how many segments does one connection take?\n\nWhy: three to open, four to close.\n",
        "run": "20261123T150000Z-abcdef",
        "engine": "netns",
        "started": "2026-11-23T15:00:00Z",
        "seed": 7,
        "requested_s": 1.0,
        "facts": {"kernel": "6.1.0", "cpus": 2},
        "images": {},
        "server_host": "server",
        "server": {"model": "epoll", "port": 9000},
        "fleet": {"connections": connections},
        "captures": [{"host": "server", "filter": "tcp port 9000"}],
        "expectations": [],
        "git_revision": "0123456789ab",
    }


def verdict(connections: int) -> dict[str, Any]:
    def row(what: str, observed: float | None, word: str, evidence: str) -> dict[str, Any]:
        expected = f"= {connections}" if "error" not in what else "= 0"
        return {
            "what": what,
            "at": "server",
            "expected": expected,
            "observed": observed,
            "unit": "count",
            "verdict": word,
            "evidence": evidence,
            "because": None,
        }

    sentence = "60 segments in and 50 out captured; the kernel of server counted 60 and 50: equal"
    return {
        "scenario": "small",
        "run": "20261123T150000Z-abcdef",
        "engine": "netns",
        "verdict": "pass",
        "expectations": [
            row("fleet.opened", connections, "pass", "hosts/*/fleet.json of 1 fleet hosts, opened summed"),
            row("handshake.complete", connections, "pass", "tables/connections.parquet, host server"),
        ],
        "lost_evidence": [],
        "capture": {"server": {"received": 11 * connections, "dropped": 0, "written": 11 * connections}},
        "reconciliation": {"server": {"difference": 0, "sentence": sentence}},
        "validity": "valid",
        "validity_reasons": [],
        "requested_s": 1.0,
        "timing_s": {"up": 0.2, "traffic": 1.1, "analysis": 0.15},
    }
