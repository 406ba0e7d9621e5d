"""From the state and the packets to rows of the tables that `tables.py` lists, column by column (`cells.py`)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis import columns as at
from lab.analysis import judgements, kept_memory, packet_columns, words
from lab.analysis import packet_columns as has
from lab.analysis.cells import Array, Cells, Rows, coded, flag, same, unless, where, words_of
from lab.analysis.columns import Columns
from lab.analysis.state import ADDRESSES, CONNECTIONS, FLOWS, HISTORY_TEXT, State

Records = npt.NDArray[np.void]
WORKERS = 2
ENDS_AT_ONCE = 1 << 14
"""Connections whose records each of these reads before they are forgotten: what bounds memory."""


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


def connection_rows(state: State, first: int, count: int, lossy: npt.NDArray[np.bool_], addresses: pl.Series) -> Rows:
    """The rows of connections `first` to `first + count`."""
    c, s = at.connection_columns(count)
    judgements.judge_connections(state, first, count, lossy, c, s)
    slots = np.zeros(1 << (2 * max(count, 1)).bit_length(), np.uint32)
    texts, lengths = np.empty((count, HISTORY_TEXT), np.uint8), np.empty(count, np.int64)
    text = np.empty(HISTORY_TEXT, np.uint8)
    distinct = judgements.write_histories(state, first, count, slots, texts, lengths, text, c.u32[at.HISTORY])
    c = Columns(*(array[:, :count] for array in c))
    histories = pl.Series([texts[i, : lengths[i]].tobytes().decode() for i in range(distinct)], dtype=pl.String)
    unknown = int(at.NOT_KNOWN)
    columns = {
        "id": Cells(np.arange(first, first + count, dtype=np.uint32)),
        "capture": Cells(c.u16[at.CAPTURE]),
        "ip_version": Cells(c.u8[at.IP_VERSION]),
        "orig_addr": Cells(c.u32[at.ORIG_ADDRESS], words=addresses),
        "orig_port": Cells(c.u16[at.ORIG_PORT]),
        "resp_addr": Cells(c.u32[at.RESP_ADDRESS], words=addresses),
        "resp_port": Cells(c.u16[at.RESP_PORT]),
        "start_ns": Cells(c.i64[at.START_NS]),
        "duration_ns": Cells(c.i64[at.DURATION_NS]),
        "handshake": coded(c.u8[at.HANDSHAKE], words.HANDSHAKES),
        "handshake_reason": coded(c.u8[at.REASON], words.REASONS),
        "handshake_variant": coded(c.u8[at.VARIANT], words.VARIANTS),
        "handshake_reordered": flag(c.u8[at.REORDERED]),
        "teardown": coded(c.u8[at.TEARDOWN], words.TEARDOWNS),
        "reset": coded(c.u8[at.RESET], words.RESETS),
        "reset_by": coded(c.u8[at.RESET_BY], ("", *words.DIRECTIONS)),
        "reset_ns": unless(c.i64[at.RESET_NS], unknown),
        "active_closer": coded(c.u8[at.CLOSER], words.CLOSERS),
        "time_wait": coded(c.u8[at.TIME_WAIT], words.TIME_WAITS),
        "history": Cells(c.u32[at.HISTORY], words=histories),
        "conn_state": coded(c.u8[at.CONN_STATE], words.CONN_STATES),
        "evidence_lost": flag(c.u8[at.EVIDENCE_LOST]),
        "syn_count": Cells(c.u32[at.SYNS]),
        "syn_ack_count": Cells(c.u32[at.SYN_ACKS]),
        "syn_ack_rtt_ns": unless(c.i64[at.SYN_ACK_RTT_NS], unknown),
        "ack_rtt_ns": unless(c.i64[at.ACK_RTT_NS], unknown),
        "window_scaling": flag(c.u8[at.WINDOW_SCALING]),
        "sack": flag(c.u8[at.SACK]),
        "timestamps": flag(c.u8[at.TIMESTAMPS]),
        "fast_open_option": flag(c.u8[at.FAST_OPEN_OPTION]),
        "capture_duplicates": Cells(c.u32[at.CAPTURE_DUPLICATES]),
        "icmp_errors": Cells(c.u32[at.ICMP_ERRORS]),
        "icmp_type": unless(c.i32[at.ICMP_TYPE], -1),
        "icmp_code": unless(c.i32[at.ICMP_CODE], -1),
        "first_packet": Cells(c.i64[at.FIRST_PACKET].view(np.uint64)),
        "last_packet": Cells(c.i64[at.LAST_PACKET].view(np.uint64)),
        "previous": unless(c.i32[at.PREVIOUS], -1),
    }
    for who, part in (("orig", slice(0, count)), ("resp", slice(count, 2 * count))):
        side = Columns(*(array[:, part] for array in s))
        columns |= _side_columns(who, side, c.i64[at.DURATION_NS])
    return columns


def _side_columns(who: str, s: Columns, duration_ns: npt.NDArray[np.int64]) -> dict[str, Cells]:
    """The columns of one side, named for it."""
    unknown = int(at.NOT_KNOWN)
    sent = s.i64[at.SIDE_BYTES]
    lasts = duration_ns > 0
    columns = {
        "packets": Cells(s.u32[at.SIDE_PACKETS]),
        "bytes": Cells(sent.view(np.uint64)),
        "missing_bytes": Cells(s.i64[at.SIDE_MISSING_BYTES].view(np.uint64)),
        "isn": unless(s.i64[at.SIDE_ISN], unknown),
        "mss": unless(s.i32[at.SIDE_MSS], -1),
        "wscale": unless(s.i32[at.SIDE_WSCALE], -1),
        "sack_permitted": flag(s.u8[at.SIDE_SACK]),
        "timestamps_offered": flag(s.u8[at.SIDE_TIMESTAMPS]),
        "new_segments": Cells(s.u32[at.SIDE_NEW]),
        "retransmissions": Cells(s.u32[at.SIDE_RETRANSMISSIONS]),
        "partial_retransmissions": Cells(s.u32[at.SIDE_PARTIAL]),
        "fast_retransmissions": Cells(s.u32[at.SIDE_FAST]),
        "timeout_retransmissions": Cells(s.u32[at.SIDE_TIMEOUT]),
        "spurious_retransmissions": Cells(s.u32[at.SIDE_SPURIOUS]),
        "retransmitted_bytes": Cells(s.u32[at.SIDE_RETRANSMITTED_BYTES]),
        "out_of_order": Cells(s.u32[at.SIDE_OUT_OF_ORDER]),
        "keep_alives": Cells(s.u32[at.SIDE_KEEP_ALIVES]),
        "probes": Cells(s.u32[at.SIDE_PROBES]),
        "duplicate_acks": Cells(s.u32[at.SIDE_DUPLICATE_ACKS]),
        "zero_windows": Cells(s.u32[at.SIDE_ZERO_WINDOWS]),
        "super_segments": Cells(s.u32[at.SIDE_SUPER_SEGMENTS]),
        "pure_acks": Cells(s.u32[at.SIDE_PURE_ACKS]),
        "fins": Cells(s.u32[at.SIDE_FINS]),
        "resets": Cells(s.u32[at.SIDE_RESETS]),
        "rtt_samples": Cells(s.u32[at.SIDE_RTT_SAMPLES]),
        "rtt_min_ns": unless(s.i64[at.SIDE_RTT_MIN_NS], unknown),
        "rtt_mean_ns": unless(s.i64[at.SIDE_RTT_MEAN_NS], unknown),
        "throughput_bps": where(lasts, sent * 8e9 / np.where(lasts, duration_ns, 1)),
    }
    return {f"{who}_{name}": column for name, column in columns.items()}


def flow_rows(state: State, addresses: pl.Series) -> Rows:
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

    def sent(name: str, *, by_high: npt.NDArray[np.bool_]) -> Cells:
        return Cells(np.where(by_high, flows[f"high_{name}"], flows[f"low_{name}"]))

    return {
        "id": Cells(np.arange(flows.size, dtype=np.uint32)),
        "capture": Cells((pairs["vantage"] >> 16).astype(np.uint16)),
        "ip_version": Cells(pairs["ip_version"].copy()),
        "protocol": Cells(np.ascontiguousarray(pairs["protocol"])),
        "orig_addr": Cells(of_orig("address"), words=addresses),
        "orig_port": where(udp, of_orig("port")),
        "resp_addr": Cells(of_resp("address"), words=addresses),
        "resp_port": where(udp, of_resp("port")),
        "icmp_id": where(icmp, pairs["low_port"].copy()),
        "icmp_type": where(informed, flows["icmp_type"].copy()),
        "icmp_code": where(informed, flows["icmp_code"].copy()),
        "start_ns": Cells(flows["first_t"].copy()),
        "duration_ns": Cells(flows["last_t"] - flows["first_t"]),
        "first_answer_ns": where(answered, flows["first_reply_t"] - flows["first_t"]),
        "orig_packets": sent("packets", by_high=orig_high),
        "resp_packets": sent("packets", by_high=~orig_high),
        "orig_bytes": sent("bytes", by_high=orig_high),
        "resp_bytes": sent("bytes", by_high=~orig_high),
        "fragments": Cells(flows["fragments"].copy()),
        "icmp_errors": Cells(flows["icmp_errors"].copy()),
        "capture_duplicates": Cells(flows["capture_duplicates"].copy()),
        "first_packet": Cells(flows["first_packet"].copy()),
        "last_packet": Cells(flows["last_packet"].copy()),
    }


def packet_ends(state: State, forget: Callable[[], None]) -> Records:
    """Both ends of every connection, as rows of packets need them; `forget` is called now and then (`Spill.forget`)."""
    count = int(state.counts[CONNECTIONS])
    ends = kept_memory.empty(2 * count, packet_columns.END)

    def sum_up(first: int) -> None:
        packet_columns.sum_up(state, first, min(ENDS_AT_ONCE, count - first), ends)
        forget()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(sum_up, range(0, count, ENDS_AT_ONCE)))
    return ends


def packet_rows(
    state: State, ends: Records, packets: Records, index: int, spurious: npt.NDArray[np.int64], addresses: pl.Series
) -> Rows:
    """The rows of the given packets, the first of which has this index; `ends` are those of `packet_ends`.

    `spurious` are the indexes of retransmissions that a later DSACK proved to have been needless.
    """
    count = packets.size
    p = at.packet_columns(count)
    of_all, of_any, marks_met = packet_columns.finish_packets(state, ends, packets, p)
    p = Columns(*(array[:, :count] for array in p))
    later = spurious[(spurious >= index) & (spurious < index + count)] - index
    if later.size:
        p.u16[at.MARKS, later] |= words.SPURIOUS
        marks_met |= words.SPURIOUS

    def known(reason: int, values: Array, names: pl.Series | None = None) -> Cells:
        """Make a column with null where that is not known of the packet."""
        if of_all & reason:
            return Cells(values, True, names)
        if not of_any & reason:
            return Cells(values, False, names)
        return Cells(values, p.u16[at.KNOWN] & reason > 0, names)

    def word(reason: int, codes: npt.NDArray[np.uint8], names: tuple[str, ...]) -> Cells:
        """Make a column of words from codes that begin at 1, likewise."""
        return known(reason, codes - (codes > 0), words_of(names))

    source_port, destination_port = p.u16[at.SOURCE_PORT], p.u16[at.DESTINATION_PORT]
    columns = {
        "index": Cells(np.arange(index, index + count, dtype=np.uint64)),
        "t_ns": Cells(p.i64[at.T_NS]),
        "interface": Cells(p.u16[at.INTERFACE]),
        "captured_bytes": Cells(p.u32[at.CAPTURED]),
        "original_bytes": Cells(p.u32[at.ORIGINAL]),
        "vlan": known(has.KNOWN_VLAN, p.u16[at.VLAN]),
        "ip_version": known(has.KNOWN_IP, p.u8[at.VERSION]),
        "src_addr": known(has.KNOWN_ADDRESSES, p.u32[at.SOURCE_ADDRESS], addresses),
        "dst_addr": known(has.KNOWN_ADDRESSES, p.u32[at.DESTINATION_ADDRESS], addresses),
        "protocol": known(has.KNOWN_IP, p.u8[at.PROTOCOL]),
        "ip_id": known(has.KNOWN_IPV4, p.u16[at.IP_ID]),
        "ttl": known(has.KNOWN_IP, p.u8[at.TTL]),
        "src_port": known(has.KNOWN_PORTS, source_port),
        "dst_port": known(has.KNOWN_PORTS, destination_port),
        "icmp_type": known(has.KNOWN_ICMP, source_port),
        "icmp_code": known(has.KNOWN_ICMP, destination_port),
        "tcp_flags": known(has.KNOWN_TCP, p.u16[at.FLAGS]),
        "seq": known(has.KNOWN_TCP, p.u32[at.SEQ]),
        "ack": known(has.KNOWN_ACK, p.u32[at.ACK_NUMBER]),
        "relative_seq": known(has.KNOWN_RELATIVE_SEQ, p.u32[at.RELATIVE_SEQ]),
        "relative_ack": known(has.KNOWN_RELATIVE_ACK, p.u32[at.RELATIVE_ACK]),
        "window": known(has.KNOWN_TCP, p.u32[at.WINDOW]),
        "timestamp_value": known(has.KNOWN_TIMESTAMPS, p.u32[at.TIMESTAMP_VALUE]),
        "timestamp_echo": known(has.KNOWN_TIMESTAMPS, p.u32[at.TIMESTAMP_ECHO]),
        "sack_blocks": known(has.KNOWN_TCP, p.u8[at.SACK_BLOCKS]),
        "payload_bytes": Cells(p.u32[at.PAYLOAD]),
        "connection": known(has.KNOWN_CONNECTION, p.u32[at.CONNECTION]),
        "flow": known(has.KNOWN_FLOW, p.u32[at.FLOW]),
        "direction": word(has.KNOWN_DIRECTION, p.u8[at.DIRECTION], words.DIRECTIONS),
        "segment_class": word(has.KNOWN_CLASS, p.u8[at.SEGMENT_CLASS], words.SEGMENT_CLASSES),
        "retransmission_kind": word(has.KNOWN_RETRANSMISSION, p.u8[at.RETRANSMISSION_KIND], words.RETRANSMISSION_KINDS),
    }
    for bit, mark in enumerate(words.MARKS):
        # Nearly all marks are rare: most chunks of packets have none of them.
        if marks_met & (1 << bit):
            columns[mark] = Cells(p.u16[at.MARKS] & (1 << bit) > 0)
        else:
            columns[mark] = Cells(same(False, count))
    return columns
