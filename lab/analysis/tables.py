"""Every column of every table of the analysis: name, type, unit, meaning, and what null means.

`packets`: one row a captured frame, in the order of the file. `connections`: one row a TCP connection (one
incarnation of a 4-tuple at one vantage), in the order they were opened. `flows`: one row a UDP or ICMP exchange.
`captures`: one row an interface of a file. `frames`: one row an Ethernet frame, of short captures alone. The words in
enumerated columns are defined in `words.py` and decided in `handshake.py`, `teardown.py`, `streams.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from lab.analysis import words


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    unit: str
    """`ns`, `bytes`, `packets`, ...; empty where there is none."""
    meaning: str
    null: str = "never"
    """What null means; `never` where it does not occur."""


def enumeration(names: tuple[str, ...]) -> pl.Enum:
    """The type of a column of words (without the empty one, which is null)."""
    return pl.Enum([name for name in names if name])


U8, U16, U32, U64, I64 = pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Int64
I16, I32, I8, TEXT, FLAG, REAL = pl.Int16, pl.Int32, pl.Int8, pl.String, pl.Boolean, pl.Float64
NOT_TCP = "not TCP, or its header was not captured"
NO_SYN = "no SYN of that side was seen"

CAPTURES = (
    Column("capture", U16, "", "number of this interface of a file; other tables refer to it"),
    Column("file", TEXT, "", "path of the file as given"),
    Column("interface", TEXT, "", "name of the interface", "the file does not name it"),
    Column("link_type", I32, "", "LINKTYPE_ number"),
    Column("snaplen", U32, "bytes", "bytes kept of each packet at most", "no limit"),
    Column("filter", TEXT, "", "capture filter", "none, or the file does not tell"),
    Column("packets", U64, "packets", "packets read from the file"),
    Column("first_ns", I64, "ns", "time of the earliest packet since 1970", "no packet"),
    Column("last_ns", I64, "ns", "time of the latest packet since 1970", "no packet"),
    Column("received", U64, "packets", "packets the recorder says it saw", "the file does not tell"),
    Column("dropped", U64, "packets", "packets the recorder says it lost", "the file does not tell"),
    Column("began_ns", I64, "ns", "when it began to record, since 1970", "the file does not tell"),
    Column("ended_ns", I64, "ns", "when it ended", "the file does not tell"),
    Column("error", TEXT, "", "why the file could not be read to its end", "it was read to its end"),
)

PACKETS = (
    Column("index", U64, "", "number of the frame in the analysis, from 0, over all files in their order"),
    Column("t_ns", I64, "ns", "time since 1970"),
    Column("interface", U16, "", "row of `captures`"),
    Column("captured_bytes", U32, "bytes", "bytes of the frame in the file"),
    Column("original_bytes", U32, "bytes", "bytes of the frame on the wire"),
    Column("vlan", U16, "", "innermost VLAN id", "no VLAN tag"),
    Column("ip_version", U8, "", "4 or 6", "not IP, or not readable"),
    Column("src_addr", TEXT, "", "source address", "not IP, or a fragment without its first"),
    Column("dst_addr", TEXT, "", "destination address", "as src_addr"),
    Column("protocol", U8, "", "IP protocol number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6", "not IP, or not readable"),
    Column("ip_id", U16, "", "IPv4 identification", "not IPv4"),
    Column("ttl", U8, "hops", "time to live, or hop limit", "not IP"),
    Column("src_port", U16, "", "source port", "neither TCP nor UDP"),
    Column("dst_port", U16, "", "destination port", "neither TCP nor UDP"),
    Column("icmp_type", U8, "", "ICMP type", "not ICMP"),
    Column("icmp_code", U8, "", "ICMP code", "not ICMP"),
    Column("tcp_flags", U16, "", "bits: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR, 256 AE", NOT_TCP),
    Column("seq", U32, "", "sequence number", NOT_TCP),
    Column("ack", U32, "", "acknowledgement number", "not TCP, or without ACK"),
    Column("relative_seq", U32, "", "seq - ISN (SYN = 0); no SYN seen: first number = 1", "stream not seen"),
    Column("relative_ack", U32, "", "ack likewise, in the other stream", "no ACK, or that stream not seen"),
    Column("window", U32, "bytes", "receive window, scaled where the handshake told the scale", NOT_TCP),
    Column("timestamp_value", U32, "", "TCP timestamp", "no such option (or both numbers 0)"),
    Column("timestamp_echo", U32, "", "TCP timestamp echoed", "no such option (or both numbers 0)"),
    Column("sack_blocks", U8, "", "number of SACK blocks", NOT_TCP),
    Column("payload_bytes", U32, "bytes", "bytes above the TCP, UDP or ICMP header, by the headers' lengths"),
    Column("connection", U32, "", "id of its TCP connection (or of the one an ICMP error is about)", "none"),
    Column("flow", U32, "", "id of its flow (or of the one an ICMP error is about)", "none"),
    Column("direction", enumeration(words.DIRECTIONS), "", "orig: sent by the originator", "none of its own"),
    Column("segment_class", enumeration(words.SEGMENT_CLASSES), "", "class, if it takes sequence space", "takes none"),
    Column("retransmission_kind", enumeration(words.RETRANSMISSION_KINDS), "", "fast or timeout", "no retransmission"),
    *(Column(mark, FLAG, "", meaning) for mark, meaning in zip(
        words.MARKS,
        (
            "a retransmission that also brings new bytes",
            "a retransmission of what was received already, by acknowledgement or DSACK",
            "a duplicate acknowledgement (RFC 5681)",
            "advertises a window of zero",
            "a zero window whose scale is not known, the handshake not having been seen",
            "payload above the MSS: an offload's artefact",
            "a copy of a packet made by the capture",
            "headers contradict themselves",
            "not all of its bytes are in the file",
            "an IP fragment",
            "an ICMP error joined to the connection or flow it quotes",
            "the answer to a keep-alive or a window probe",
        ),
        strict=True,
    )),
)  # fmt: skip

CONNECTIONS = (
    Column("id", U32, "", "number of the connection, from 0"),
    Column("capture", U16, "", "row of `captures`: the vantage"),
    Column("ip_version", U8, "", "4 or 6"),
    Column("orig_addr", TEXT, "", "address of the originator (first SYN's sender)"),
    Column("orig_port", U16, "", "its port"),
    Column("resp_addr", TEXT, "", "address of the responder"),
    Column("resp_port", U16, "", "its port"),
    Column("start_ns", I64, "ns", "time of the first packet since 1970"),
    Column("duration_ns", I64, "ns", "from the first packet to the last"),
    Column("handshake", enumeration(words.HANDSHAKES), "", "complete, incomplete; unknown: evidence was lost"),
    Column("handshake_reason", enumeration(words.REASONS), "", "why not (if unknown: what it looks like)", "complete"),
    Column("handshake_variant", enumeration(words.VARIANTS), "", "how it went", "not complete"),
    Column("handshake_reordered", FLAG, "", "its segments stand in the file in another order than they were sent"),
    Column("teardown", enumeration(words.TEARDOWNS), "", "how it ended", "never opened, neither FIN nor reset"),
    Column("reset", enumeration(words.RESETS), "", "what the reset that counts meant", "no reset"),
    Column("reset_by", enumeration(words.DIRECTIONS), "", "who sent it", "no reset"),
    Column("reset_ns", I64, "ns", "when, since 1970", "no reset"),
    Column("active_closer", enumeration(words.CLOSERS), "", "who closed first, by numbers", "no FIN, or undecidable"),
    Column("time_wait", enumeration(words.TIME_WAITS), "", "side in TIME-WAIT; none after a reset", "not closed"),
    Column("history", TEXT, "", "Zeek's history; upper case: the originator's; ^: the responder was seen first"),
    Column("conn_state", enumeration(words.CONN_STATES), "", "Zeek's conn_state"),
    Column("evidence_lost", FLAG, "", "the capture lost packets, or acknowledged bytes were never seen"),
    Column("syn_count", U32, "packets", "SYNs without ACK, both sides"),
    Column("syn_ack_count", U32, "packets", "SYN-ACKs, both sides"),
    Column("syn_ack_rtt_ns", I64, "ns", "first SYN to first valid SYN-ACK", "not both seen"),
    Column("ack_rtt_ns", I64, "ns", "that SYN-ACK to the ACK that completed the handshake", "not both seen"),
    Column("window_scaling", FLAG, "", "window scaling was agreed"),
    Column("sack", FLAG, "", "selective acknowledgement was agreed"),
    Column("timestamps", FLAG, "", "timestamps were agreed"),
    Column("fast_open_option", FLAG, "", "a SYN carried the Fast Open option"),
    Column("capture_duplicates", U32, "packets", "copies made by the capture, counted nowhere else"),
    Column("icmp_errors", U32, "packets", "ICMP errors about it"),
    Column("icmp_type", I16, "", "type of the last one", "no ICMP error"),
    Column("icmp_code", I16, "", "code of the last one", "no ICMP error"),
    Column("first_packet", U64, "", "index of its first packet"),
    Column("last_packet", U64, "", "index of its last packet"),
    Column("previous", U32, "", "id of the incarnation before it on the same 4-tuple", "none"),
)  # fmt: skip

SIDES = (
    Column("packets", U32, "packets", "packets sent"),
    Column("bytes", U64, "bytes", "payload, each byte of the stream once"),
    Column("missing_bytes", U64, "bytes", "acknowledged bytes of its stream that the capture never showed"),
    Column("isn", I64, "", "initial sequence number", NO_SYN),
    Column("mss", I32, "bytes", "MSS offered", "not offered"),
    Column("wscale", I8, "bits", "window scale offered", "not offered"),
    Column("sack_permitted", FLAG, "", "SACK offered"),
    Column("timestamps_offered", FLAG, "", "timestamps offered"),
    Column("new_segments", U32, "packets", "segments of class new"),
    Column("retransmissions", U32, "packets", "segments of class retransmission, SYN and FIN too"),
    Column("partial_retransmissions", U32, "packets", "of these, those that also brought new bytes"),
    Column("fast_retransmissions", U32, "packets", "of these, those after three duplicate acknowledgements"),
    Column("timeout_retransmissions", U32, "packets", "of these, the others"),
    Column("spurious_retransmissions", U32, "packets", "of these, those of what had been received already"),
    Column("retransmitted_bytes", U32, "bytes", "sequence space sent more than once"),
    Column("out_of_order", U32, "packets", "segments of class out_of_order"),
    Column("keep_alives", U32, "packets", "keep-alives"),
    Column("probes", U32, "packets", "zero-window probes"),
    Column("duplicate_acks", U32, "packets", "duplicate acknowledgements sent (RFC 5681)"),
    Column("zero_windows", U32, "packets", "windows of zero advertised"),
    Column("super_segments", U32, "packets", "payloads above the other side's MSS"),
    Column("pure_acks", U32, "packets", "acknowledgements without data, SYN, FIN"),
    Column("fins", U32, "packets", "FINs, copies too"),
    Column("resets", U32, "packets", "resets sent"),
    Column("rtt_samples", U32, "", "round trips measured from its segments to their acknowledgements"),
    Column("rtt_min_ns", I64, "ns", "the shortest of them", "no sample"),
    Column("rtt_mean_ns", I64, "ns", "their mean", "no sample"),
    Column("throughput_bps", REAL, "bit/s", "its bytes over the connection's duration", "duration 0"),
)
"""Columns of `connections` that come twice: with `orig_` before the name, and with `resp_`."""

CONNECTION_COLUMNS = (
    *CONNECTIONS,
    *(Column(f"{who}_{c.name}", c.dtype, c.unit, c.meaning, c.null) for c in SIDES for who in words.DIRECTIONS),
)

FLOWS = (
    Column("id", U32, "", "number of the flow, from 0"),
    Column("capture", U16, "", "row of `captures`: the vantage"),
    Column("ip_version", U8, "", "4 or 6"),
    Column("protocol", U8, "", "IP protocol number"),
    Column("orig_addr", TEXT, "", "who sent the first packet seen"),
    Column("orig_port", U16, "", "its port", "not UDP"),
    Column("resp_addr", TEXT, "", "the other one"),
    Column("resp_port", U16, "", "its port", "not UDP"),
    Column(
        "icmp_id",
        U16,
        "",
        "identifier of an ICMP question and its answers, or the ICMP type where it has none",
        "not ICMP",
    ),
    Column(
        "icmp_type",
        U8,
        "",
        "ICMP type: of its first packet, or of the last error about it",
        "neither ICMP nor an error",
    ),
    Column("icmp_code", U8, "", "ICMP code likewise", "as icmp_type"),
    Column("start_ns", I64, "ns", "time of the first packet since 1970"),
    Column("duration_ns", I64, "ns", "from the first packet to the last"),
    Column("first_answer_ns", I64, "ns", "from the first packet to the first of the responder", "never answered"),
    Column("orig_packets", U32, "packets", "packets sent by the originator"),
    Column("resp_packets", U32, "packets", "packets sent by the responder"),
    Column("orig_bytes", U64, "bytes", "payload sent by the originator"),
    Column("resp_bytes", U64, "bytes", "payload sent by the responder"),
    Column("fragments", U32, "packets", "later fragments, which are not counted as packets"),
    Column("icmp_errors", U32, "packets", "ICMP errors about it"),
    Column("capture_duplicates", U32, "packets", "copies made by the capture, counted nowhere else"),
    Column("first_packet", U64, "", "index of its first packet"),
    Column("last_packet", U64, "", "index of its last packet"),
)

NOT_ARP = "not ARP"
FRAMES = (
    Column("index", U64, "", "number of the frame, as in `packets`"),
    Column("t_ns", I64, "ns", "time since 1970"),
    Column("interface", U16, "", "row of `captures`"),
    Column("original_bytes", U32, "bytes", "bytes of the frame on the wire"),
    Column("src_mac", TEXT, "", "Ethernet address of who sent it on this segment"),
    Column("dst_mac", TEXT, "", "Ethernet address of who is to take it"),
    Column("cast", pl.Enum(["unicast", "multicast", "broadcast"]), "", "for one station, a group, or everybody"),
    Column("ethertype", U16, "", "what it carries: 2048 IPv4, 2054 ARP, 34525 IPv6", "a length stands there (802.3)"),
    Column("link_header_bytes", U8, "bytes", "Ethernet header: 14, and 4 for each VLAN tag"),
    Column("ip_header_bytes", U8, "bytes", "IPv4 header with options; IPv6 header without extensions", "not IP"),
    Column("transport_header_bytes", U8, "bytes", "TCP header with options, UDP or ICMP header", "none in this frame"),
    Column("data_bytes", U32, "bytes", "what the innermost of these headers carries"),
    Column("trailer_bytes", U32, "bytes", "padding behind a packet that is too short for a frame"),
    Column("dont_fragment", FLAG, "", "no router may cut it", "not IPv4"),
    Column("more_fragments", FLAG, "", "fragments of the same datagram come behind it", "not IPv4"),
    Column("fragment_offset", U16, "bytes", "where in its datagram its data stand; 0 in a whole one", "not IPv4"),
    Column("arp_operation", enumeration(("", "request", "reply")), "", "request or reply", NOT_ARP),
    Column("arp_sender_mac", TEXT, "", "Ethernet address that the sender tells", NOT_ARP),
    Column("arp_sender_addr", TEXT, "", "its IPv4 address", NOT_ARP),
    Column("arp_target_mac", TEXT, "", "Ethernet address of the one meant", "not ARP, or it is what is asked"),
    Column("arp_target_addr", TEXT, "", "IPv4 address of the one meant: in a request, whom it asks for", NOT_ARP),
)  # fmt: skip

TABLES = {"packets": PACKETS, "connections": CONNECTION_COLUMNS, "flows": FLOWS, "captures": CAPTURES, "frames": FRAMES}


def schema(columns: tuple[Column, ...]) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The table's names and types, in order."""
    return {column.name: column.dtype for column in columns}
