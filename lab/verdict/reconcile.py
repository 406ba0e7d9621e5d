"""Do the kernel's counters and the capture agree? Segment for segment, in both directions.

The kernel counts every TCP segment that it gets from IP and every one that it sends, in each network stack apart, and
some in its own way: which, and how that was found out, stands in `lab/inside/counters.py`, with the formulas. The
SYN-ACK of a simultaneous open it does not count at all: to it that is the SYN once more, with an ACK. A recorder on all
interfaces of that stack must have seen the same numbers.

Counters were read when nothing moved, before the traffic and after it, inside the time the capture was armed: what was
captured between the two readings is what the kernel counted. (A segment may come later: a FIN that waits for its
retransmission timer is as silent as a network at rest.) Where the two differ, either the recorder lost packets that
nobody reported, or the filter kept some out; then the capture proves no absence.
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from lab import units
from lab.inside import counters
from lab.verdict.observe import Evidence


def reconcile(evidence: Evidence, host: str) -> dict[str, Any]:
    """Compare the captured segments of one host with its kernel's counts.

    Returns `kernel_in`, `kernel_out`, `captured_in`, `captured_out`, `difference` (sum of both absolute differences;
    None where the two cannot be compared) and `sentence`.
    """
    result: dict[str, Any] = dict.fromkeys(("kernel_in", "kernel_out", "captured_in", "captured_out", "difference"))
    readings = evidence.counters(host)
    if readings is None:
        return {**result, "sentence": f"the kernel's counters of {host} were not read"}
    if reason := _filtered(evidence, host):
        return {**result, "sentence": f"{host}: not comparable with the kernel's counters: {reason}"}
    delta = counters.difference(*readings)
    result["kernel_in"] = counters.segments_received(delta)
    sent = counters.segments_sent(delta, _syn_acks_again(evidence, host))
    result["kernel_out"] = sent + _syn_acks_of_callers(evidence, host)
    found = captured_segments(evidence, host)
    if found is None:
        return {**result, "sentence": f"{host}: no packets table"}
    captured_in, captured_out, beyond = found
    result["captured_in"], result["captured_out"] = captured_in, captured_out
    difference = abs(result["kernel_in"] - captured_in) + abs(result["kernel_out"] - captured_out)
    result["difference"] = difference
    numbers = (
        f"{units.show_count(captured_in)} segments in and {units.show_count(captured_out)} out captured; "
        f"the kernel of {host} counted {units.show_count(result['kernel_in'])} and "
        f"{units.show_count(result['kernel_out'])}"
    )
    sentence = numbers if difference else f"{numbers}: equal"
    if beyond:
        sentence += f" ({units.show_count(beyond)} more captured before its first reading or after its last)"
    return {**result, "sentence": sentence}


def captured_segments(evidence: Evidence, host: str) -> tuple[int, int, int] | None:
    """Count captured TCP segments to and from the host's own addresses between the two readings of its counters, and
    all those beyond; None without a packets table."""
    table = evidence.folder / "tables" / "packets.parquet"
    if not table.exists():
        return None
    addresses = evidence.addresses(host)
    to_it, from_it = pl.col("dst_addr").is_in(addresses), pl.col("src_addr").is_in(addresses)
    counted = pl.col("t_ns").is_between(*evidence.read_at_ns(host))
    segments = pl.scan_parquet(table).filter((pl.col("host") == host) & (pl.col("protocol") == 6))
    counts = segments.select(
        (to_it & counted).sum().alias("in"),
        (from_it & counted).sum().alias("out"),
        ((to_it | from_it) & ~counted).sum().alias("beyond"),
    ).collect()
    return int(counts["in"][0]), int(counts["out"][0]), int(counts["beyond"][0])


def _syn_acks_again(evidence: Evidence, host: str) -> int:
    """Count the SYN-ACKs that this host sent again: the kernel counted each of them twice."""
    mine = evidence.connections.filter(
        (pl.col("host") == host) & pl.col("resp_addr").is_in(evidence.addresses(host)) & (pl.col("syn_ack_count") > 1)
    )
    return int((mine["syn_ack_count"] - 1).sum())


def _syn_acks_of_callers(evidence: Evidence, host: str) -> int:
    """Count the SYN-ACKs with which this host answered a SYN that met its own: the kernel counts none of them."""
    if "handshake_variant" not in evidence.connections.columns:
        return 0
    met = evidence.connections.filter((pl.col("host") == host) & (pl.col("handshake_variant") == "simultaneous"))
    if met.is_empty():
        return 0
    packets = pl.scan_parquet(evidence.folder / "tables" / "packets.parquet").filter(
        (pl.col("host") == host)
        & pl.col("connection").is_in(met["id"].to_list())
        & pl.col("src_addr").is_in(evidence.addresses(host))
        & (pl.col("tcp_flags") & 0x12 == 0x12)
    )
    return int(packets.select(pl.len()).collect().item())


def _filtered(evidence: Evidence, host: str) -> str | None:
    """Say why the filter keeps segments out that the kernel counts; None where it keeps all of this lab's TCP."""
    server = evidence.manifest.get("server")
    ports = [server["port"]] if server is not None and not evidence.manifest.get("script") else []
    for capture in evidence.manifest["captures"]:
        if host in evidence.hosts_named(capture["host"]):
            text = capture["filter"].strip()
            whole = ["", "tcp", "ip", "ip and tcp", *(f"{kind}port {port}" for port in ports for kind in ("tcp ", ""))]
            return None if re.sub(r"\s+", " ", text) in whole else f"the filter `{text}` keeps only a part"
    return "no capture point"
