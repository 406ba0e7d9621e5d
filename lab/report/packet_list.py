"""Packets as a list, a line each: number, time, from whom to whom, what it is.

       N   time ms  from    to         what                                           bytes
       0     0.000  client  everybody  ARP who has 10.64.0.2? tell 10.64.0.3              42
       1     0.031  server  client     ARP 10.64.0.2 is at 02:00:0a:40:00:02              42

In: rows of the packets table, and of the frames table where there is one (`lab/analysis/tables.py`). Out: lines. N is
the packet's number in its capture, by which `lab inspect RUN --packet N` takes it apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from lab.analysis.words import ICMP, ICMP6, TCP, UDP
from lab.report.steps import flag_names

PROTOCOLS = {ICMP: "ICMP", 2: "IGMP", TCP: "TCP", UDP: "UDP", ICMP6: "ICMPv6"}
ETHERTYPES = {0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x8100: "VLAN tag", 0x88CC: "LLDP"}
ICMP_TYPES = {
    0: "echo reply",
    3: "destination unreachable",
    4: "source quench",
    5: "redirect",
    8: "echo request",
    11: "time exceeded",
    12: "parameter problem",
}
ICMP_CODES = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed, but don't fragment is set",
    (11, 0): "time to live exceeded on the way",
    (11, 1): "fragments did not all come in time",
}
EVERYBODY = "everybody"
USUAL_TTL = 64
"""What Linux sends with: another number says that routers have been passed, or something was wanted of them."""
PACKET_COLUMNS = (
    "index", "t_ns", "original_bytes", "ip_version", "ttl", "src_addr", "dst_addr", "protocol", "ip_id", "src_port",
    "dst_port", "icmp_type", "icmp_code", "tcp_flags", "seq", "relative_seq", "relative_ack", "payload_bytes",
    "fragment",
)  # fmt: skip
FRAME_COLUMNS = (
    "index", "src_mac", "dst_mac", "cast", "ethertype", "more_fragments", "fragment_offset", "data_bytes",
    "transport_header_bytes", "arp_operation", "arp_sender_addr", "arp_sender_mac", "arp_target_addr",
)  # fmt: skip
HEADINGS = ("N", "time ms", "from", "to", "what", "bytes")


def with_frames(packets: pl.DataFrame, frames: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Join rows of one vantage's packets with those of its frames, where there are any."""
    if frames is None:
        return packets.to_dicts()
    return packets.join(frames.select(FRAME_COLUMNS), on="index", how="left", maintain_order="left").to_dicts()


def lines(rows: list[dict[str, Any]], names: Mapping[str, str], *, width: int) -> Iterator[str]:
    """Yield a heading and a line a packet; `names` tell who has an IP or Ethernet address."""
    if not rows:
        return
    first = rows[0]["t_ns"]
    table = [HEADINGS] + [
        (
            str(row["index"]),
            f"{(row['t_ns'] - first) / 1e6:.3f}",
            *between(row, names),
            what(row, names),
            str(row["original_bytes"]),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    widths[4] = max(20, min(widths[4], width - sum(widths[:4]) - widths[5] - 12))
    for line in table:
        number, time, source, target, told, size = (
            cell.rjust(w) if column in (0, 1, 5) else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        short = told if len(told.rstrip()) <= widths[4] else told[: widths[4] - 1] + "…"
        yield f"  {number}  {time}  {source}  {target}  {short}  {size}".rstrip()


def between(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, str]:
    """Who sent it to whom: names, else IP addresses, else Ethernet addresses."""
    source = row["src_addr"] or row.get("src_mac") or "?"
    target = row["dst_addr"] or row.get("dst_mac") or "?"
    if row.get("cast") == "broadcast":
        return names.get(source, source), EVERYBODY
    return names.get(source, source), names.get(target, target)


def what(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What a packet is, in a line."""
    if row.get("arp_operation") == "request":
        return f"ARP who has {_both(row['arp_target_addr'], names)}? tell {row['arp_sender_addr']}"
    if row.get("arp_operation") == "reply":
        return f"ARP {row['arp_sender_addr']} is at {row['arp_sender_mac']}"
    if row["ip_version"] is None:
        ethertype = row.get("ethertype")
        if ethertype is None:
            return "not IP"
        return ETHERTYPES.get(ethertype, f"EtherType 0x{ethertype:04x}")
    hops = row["ttl"]
    return _packet(row) + (f" ttl {hops}" if hops != USUAL_TTL else "")


def _packet(row: Mapping[str, Any]) -> str:
    """What an IP packet carries."""
    protocol = PROTOCOLS.get(row["protocol"], f"protocol {row['protocol']}")
    if row["fragment"]:
        return f"{protocol} {_part(row)}"
    if row["protocol"] == TCP and row["tcp_flags"] is not None:
        return _segment(row)
    if row["protocol"] == UDP and row["src_port"] is not None:
        return f"UDP {row['src_port']} > {row['dst_port']} len {row['payload_bytes']}"
    if row["protocol"] == ICMP and row["icmp_type"] is not None:
        kind = ICMP_TYPES.get(row["icmp_type"], f"type {row['icmp_type']}")
        code = ICMP_CODES.get((row["icmp_type"], row["icmp_code"]))
        return f"ICMP {code or kind}"
    return protocol


def _both(address: str, names: Mapping[str, str]) -> str:
    return f"{address} ({names[address]})" if address in names else address


def _segment(row: Mapping[str, Any]) -> str:
    ack = f" ack {row['relative_ack']}" if row["relative_ack"] is not None else ""
    seq = row["relative_seq"] if row["relative_seq"] is not None else row["seq"]
    size = f" len {row['payload_bytes']}"
    return f"TCP {row['src_port']} > {row['dst_port']} {flag_names(row['tcp_flags'])} seq {seq}{ack}{size}"


def _part(row: Mapping[str, Any]) -> str:
    """Which bytes of its datagram a fragment carries: `fragment 0x1234: bytes 1480 to 2959, more follow`."""
    offset = row.get("fragment_offset")
    if offset is None:
        return f"fragment 0x{row['ip_id'] or 0:04x}"
    carried = row["data_bytes"] + (row["transport_header_bytes"] or 0)
    last = ", more follow" if row["more_fragments"] else ", the last"
    return f"fragment 0x{row['ip_id'] or 0:04x}: bytes {offset} to {offset + carried - 1}{last}"
