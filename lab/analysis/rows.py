"""From arrays to tables: polars DataFrames as `tables.py` lists them, words for codes, null for what is not known."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis import columns as arrays
from lab.analysis import judgements, tables, words
from lab.analysis.packets import NO_VLAN
from lab.analysis.state import ADDRESSES, FLOWS, HISTORY_LETTERS, State

Array = npt.NDArray[np.generic]
Records = npt.NDArray[np.void]


def coded(codes: Array, names: tuple[str, ...]) -> pl.Expr:
    """A column of words from their codes; code 0 is null where the first word is empty."""
    kind = tables.enumeration(names)
    if names[0]:
        return pl.lit(pl.Series(codes)).cat.to(kind)
    series = pl.Series(codes)
    # 0 wraps to 255, which no list of words is long enough to mean.
    shifted = pl.lit(series - np.uint8(1))
    return pl.when(pl.lit(series) > 0).then(shifted).cat.to(kind)


def unless(values: Array, absent: int) -> pl.Expr:
    """A column with null where the array holds `absent`."""
    column = pl.lit(pl.Series(values))
    return pl.when(column != absent).then(column)


def where(condition: pl.Expr | Array, values: Array) -> pl.Expr:
    """A column with null where the condition does not hold."""
    test = condition if isinstance(condition, pl.Expr) else pl.lit(pl.Series(condition))
    return pl.when(test).then(pl.lit(pl.Series(values)))


def address_texts(state: State) -> pl.Series:
    """Every address seen, as text, in the order of `state.addresses`."""
    texts = []
    known = state.addresses[: int(state.counts[ADDRESSES])]
    for high, low, version in zip(
        known["high"].tolist(), known["low"].tolist(), known["ip_version"].tolist(), strict=True
    ):
        if version == 4:
            texts.append(socket.inet_ntoa(struct.pack("!I", low)))
        else:
            texts.append(str(ipaddress.IPv6Address(high << 64 | low)))
    return pl.Series(texts, dtype=pl.String)


def _shaped(columns: dict[str, pl.Expr | pl.Series], spec: tuple[tables.Column, ...]) -> pl.DataFrame:
    """Evaluate the columns side by side and give them the types and the order of the table."""
    kinds = tables.schema(spec)
    expressions = []
    for name, kind in kinds.items():
        column = columns[name]
        expression = column if isinstance(column, pl.Expr) else pl.lit(column)
        expressions.append(expression.cast(kind).alias(name))
    return pl.select(expressions)


def connection_rows(
    state: State, first: int, count: int, lossy: npt.NDArray[np.bool_], addresses: pl.Series
) -> pl.DataFrame:
    """The rows of connections `first` to `first + count`."""
    c, s = arrays.connection_columns(count)
    judgements.judge_connections(state, first, count, lossy, c, s)
    slots = np.zeros(1 << (2 * max(count, 1)).bit_length(), np.uint32)
    texts, lengths = np.empty((count, HISTORY_LETTERS), np.uint8), np.empty(count, np.int64)
    text = np.empty(HISTORY_LETTERS, np.uint8)
    distinct = judgements.write_histories(state, first, count, slots, texts, lengths, text, c.history)
    histories = pl.Series([texts[i, : lengths[i]].tobytes().decode() for i in range(distinct)], dtype=pl.String)
    unknown = int(arrays.NOT_KNOWN)
    columns: dict[str, pl.Expr | pl.Series] = {
        "id": pl.Series(np.arange(first, first + count, dtype=np.uint32)),
        "capture": pl.Series(c.capture),
        "ip_version": pl.Series(c.ip_version),
        "orig_addr": addresses.gather(pl.Series(c.orig_address)),
        "orig_port": pl.Series(c.orig_port),
        "resp_addr": addresses.gather(pl.Series(c.resp_address)),
        "resp_port": pl.Series(c.resp_port),
        "start_ns": pl.Series(c.start_ns),
        "duration_ns": pl.Series(c.duration_ns),
        "handshake": coded(c.handshake, words.HANDSHAKES),
        "handshake_reason": coded(c.reason, words.REASONS),
        "handshake_variant": coded(c.variant, words.VARIANTS),
        "handshake_reordered": pl.Series(c.reordered),
        "teardown": coded(c.teardown, words.TEARDOWNS),
        "reset": coded(c.reset, words.RESETS),
        "reset_by": coded(c.reset_by, ("", *words.DIRECTIONS)),
        "reset_ns": unless(c.reset_ns, unknown),
        "active_closer": coded(c.closer, words.CLOSERS),
        "time_wait": coded(c.time_wait, words.TIME_WAITS),
        "history": histories.gather(pl.Series(c.history)),
        "conn_state": coded(c.conn_state, words.CONN_STATES),
        "evidence_lost": pl.Series(c.evidence_lost),
        "syn_count": pl.Series(c.syns),
        "syn_ack_count": pl.Series(c.syn_acks),
        "syn_ack_rtt_ns": unless(c.syn_ack_rtt_ns, unknown),
        "ack_rtt_ns": unless(c.ack_rtt_ns, unknown),
        "window_scaling": pl.Series(c.scaled),
        "sack": pl.Series(c.sack),
        "timestamps": pl.Series(c.timestamps),
        "fast_open_option": pl.Series(c.fast_open_cookie),
        "capture_duplicates": pl.Series(c.capture_duplicates),
        "icmp_errors": pl.Series(c.icmp_errors),
        "icmp_type": unless(c.icmp_type, -1),
        "icmp_code": unless(c.icmp_code, -1),
        "first_packet": pl.Series(c.first_packet),
        "last_packet": pl.Series(c.last_packet),
        "previous": unless(c.previous, -1),
    }
    for who, part in (("orig", slice(0, count)), ("resp", slice(count, 2 * count))):
        columns |= _side_columns(who, arrays.SideColumns(*(array[part] for array in s)), c.duration_ns)
    return _shaped(columns, tables.CONNECTION_COLUMNS)


def _side_columns(who: str, s: arrays.SideColumns, duration_ns: Array) -> dict[str, pl.Expr | pl.Series]:
    """The columns of one side, named for it."""
    unknown = int(arrays.NOT_KNOWN)
    duration = pl.lit(pl.Series(duration_ns))
    columns: dict[str, pl.Expr | pl.Series] = {
        "packets": pl.Series(s.packets),
        "bytes": pl.Series(s.bytes),
        "missing_bytes": pl.Series(s.missing_bytes),
        "isn": unless(s.isn, unknown),
        "mss": unless(s.mss, -1),
        "wscale": unless(s.wscale, -1),
        "sack_permitted": pl.Series(s.sack),
        "timestamps_offered": pl.Series(s.timestamps),
        "new_segments": pl.Series(s.new),
        "retransmissions": pl.Series(s.retransmissions),
        "partial_retransmissions": pl.Series(s.partial),
        "fast_retransmissions": pl.Series(s.fast),
        "timeout_retransmissions": pl.Series(s.timeout),
        "spurious_retransmissions": pl.Series(s.spurious),
        "retransmitted_bytes": pl.Series(s.retransmitted_bytes),
        "out_of_order": pl.Series(s.out_of_order),
        "keep_alives": pl.Series(s.keep_alives),
        "probes": pl.Series(s.probes),
        "duplicate_acks": pl.Series(s.duplicate_acks),
        "zero_windows": pl.Series(s.zero_windows),
        "super_segments": pl.Series(s.super_segments),
        "pure_acks": pl.Series(s.pure_acks),
        "fins": pl.Series(s.fins),
        "resets": pl.Series(s.resets),
        "rtt_samples": pl.Series(s.rtt_samples),
        "rtt_min_ns": unless(s.rtt_min_ns, unknown),
        "rtt_mean_ns": unless(s.rtt_mean_ns, unknown),
        "throughput_bps": pl.when(duration > 0).then(pl.lit(pl.Series(s.bytes)) * 8e9 / duration),
    }
    return {f"{who}_{name}": column for name, column in columns.items()}


def flow_rows(state: State, addresses: pl.Series) -> pl.DataFrame:
    """The rows of all flows."""
    flows = state.flows[: int(state.counts[FLOWS])]
    pairs = state.pairs[flows["pair"]]
    orig_high = flows["orig"] == 1
    udp = pairs["protocol"] == words.UDP
    icmp = np.isin(pairs["protocol"], (words.ICMP, words.ICMP6))
    informed = icmp | (flows["icmp_errors"] > 0)
    answered = flows["first_reply_t"] >= 0

    def of_orig(name: str) -> Any:
        return np.where(orig_high, pairs[f"high_{name}"], pairs[f"low_{name}"])

    def of_resp(name: str) -> Any:
        return np.where(orig_high, pairs[f"low_{name}"], pairs[f"high_{name}"])

    def sent(name: str, *, by_high: npt.NDArray[np.bool_]) -> pl.Series:
        return pl.Series(np.where(by_high, flows[f"high_{name}"], flows[f"low_{name}"]))

    columns: dict[str, pl.Expr | pl.Series] = {
        "id": pl.Series(np.arange(flows.size, dtype=np.uint32)),
        "capture": pl.Series((pairs["vantage"] >> 16).astype(np.uint16)),
        "ip_version": pl.Series(pairs["ip_version"].copy()),
        "protocol": pl.Series(pairs["protocol"].copy()),
        "orig_addr": addresses.gather(pl.Series(of_orig("address"))),
        "orig_port": where(udp, of_orig("port")),
        "resp_addr": addresses.gather(pl.Series(of_resp("address"))),
        "resp_port": where(udp, of_resp("port")),
        "icmp_id": where(icmp, pairs["low_port"].copy()),
        "icmp_type": where(informed, flows["icmp_type"].copy()),
        "icmp_code": where(informed, flows["icmp_code"].copy()),
        "start_ns": pl.Series(flows["first_t"].copy()),
        "duration_ns": pl.Series(flows["last_t"] - flows["first_t"]),
        "first_answer_ns": where(answered, flows["first_reply_t"] - flows["first_t"]),
        "orig_packets": sent("packets", by_high=orig_high),
        "resp_packets": sent("packets", by_high=~orig_high),
        "orig_bytes": sent("bytes", by_high=orig_high),
        "resp_bytes": sent("bytes", by_high=~orig_high),
        "fragments": pl.Series(flows["fragments"].copy()),
        "icmp_errors": pl.Series(flows["icmp_errors"].copy()),
        "capture_duplicates": pl.Series(flows["capture_duplicates"].copy()),
        "first_packet": pl.Series(flows["first_packet"].copy()),
        "last_packet": pl.Series(flows["last_packet"].copy()),
    }
    return _shaped(columns, tables.FLOWS)


def packet_rows(
    state: State, packets: Records, index: int, spurious: npt.NDArray[np.int64], addresses: pl.Series
) -> pl.DataFrame:
    """The rows of the given packets, the first of which has this index.

    `spurious` are the indexes of retransmissions that a later DSACK proved to have been needless.
    """
    count = packets.size
    p = arrays.packet_columns(count)
    judgements.finish_packets(state, packets, p)
    later = spurious[(spurious >= index) & (spurious < index + count)] - index
    p.marks[later] |= words.SPURIOUS
    version, protocol, flags = (pl.lit(pl.Series(array)) for array in (p.ip_version, p.protocol, p.flags))
    ip = version > 0
    tcp = (protocol == words.TCP) & (flags > 0)
    icmp = (protocol == words.ICMP) | (protocol == words.ICMP6)
    ports = ((protocol == words.TCP) | (protocol == words.UDP)) & (pl.lit(pl.Series(p.source_address)) != arrays.NO_ROW)
    stamped = (pl.lit(pl.Series(p.timestamp_value)) > 0) | (pl.lit(pl.Series(p.timestamp_echo)) > 0)
    marked = pl.lit(pl.Series(p.marks))
    columns: dict[str, pl.Expr | pl.Series] = {
        "index": pl.Series(np.arange(index, index + count, dtype=np.uint64)),
        "t_ns": pl.Series(p.t_ns),
        "interface": pl.Series(p.capture),
        "captured_bytes": pl.Series(p.captured),
        "original_bytes": pl.Series(p.original),
        "vlan": unless(p.vlan, NO_VLAN),
        "ip_version": where(ip, p.ip_version),
        "src_addr": _addresses(addresses, p.source_address),
        "dst_addr": _addresses(addresses, p.destination_address),
        "protocol": where(ip, p.protocol),
        "ip_id": where(version == 4, p.ip_id),
        "ttl": where(ip, p.ttl),
        "src_port": where(ports, p.source_port),
        "dst_port": where(ports, p.destination_port),
        "icmp_type": where(icmp, p.source_port),
        "icmp_code": where(icmp, p.destination_port),
        "tcp_flags": where(tcp, p.flags),
        "seq": where(tcp, p.seq),
        "ack": where(tcp & (flags & words.ACK > 0), p.ack),
        "relative_seq": where(p.has_relative_seq, p.relative_seq),
        "relative_ack": where(p.has_relative_ack, p.relative_ack),
        "window": where(tcp, p.window),
        "timestamp_value": where(stamped, p.timestamp_value),
        "timestamp_echo": where(stamped, p.timestamp_echo),
        "sack_blocks": where(tcp, p.sack_blocks),
        "payload_bytes": pl.Series(p.payload),
        "connection": unless(p.connection, arrays.NO_ROW),
        "flow": unless(p.flow, arrays.NO_ROW),
        "direction": coded(p.direction, ("", *words.DIRECTIONS)),
        "segment_class": coded(p.segment_class, words.SEGMENT_CLASSES),
        "retransmission_kind": coded(p.retransmission_kind, words.RETRANSMISSION_KINDS),
    }
    columns |= {mark: marked & (1 << bit) > 0 for bit, mark in enumerate(words.MARKS)}
    return _shaped(columns, tables.PACKETS)


def _addresses(texts: pl.Series, places: Array) -> pl.Expr:
    """Addresses as text by their rows; null where there is none."""
    return pl.lit(texts).gather(unless(places, arrays.NO_ROW))
