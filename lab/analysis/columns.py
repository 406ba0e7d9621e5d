"""The arrays that rows are written to before they become tables: one place a packet, a connection, or a side of one.

Codes are those of `words.py`; meanings stand in `tables.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

NOT_KNOWN = np.int64(-(1 << 62))
"""Stands for null in signed columns."""


class ConnectionColumns(NamedTuple):
    """One place a connection: what is said of it as a whole. Codes are those of `words.py`."""

    orig_address: Any
    resp_address: Any
    orig_port: Any
    resp_port: Any
    ip_version: Any
    capture: Any
    start_ns: Any
    duration_ns: Any
    handshake: Any
    reason: Any
    variant: Any
    reordered: Any
    teardown: Any
    reset: Any
    reset_by: Any
    reset_ns: Any
    closer: Any
    time_wait: Any
    conn_state: Any
    history: Any
    evidence_lost: Any
    syns: Any
    syn_acks: Any
    syn_ack_rtt_ns: Any
    ack_rtt_ns: Any
    scaled: Any
    sack: Any
    timestamps: Any
    fast_open_cookie: Any
    capture_duplicates: Any
    icmp_errors: Any
    icmp_type: Any
    icmp_code: Any
    first_packet: Any
    last_packet: Any
    previous: Any


CONNECTION_TYPES = ConnectionColumns(
    orig_address=np.uint32,
    resp_address=np.uint32,
    orig_port=np.uint16,
    resp_port=np.uint16,
    ip_version=np.uint8,
    capture=np.uint16,
    start_ns=np.int64,
    duration_ns=np.int64,
    handshake=np.uint8,
    reason=np.uint8,
    variant=np.uint8,
    reordered=np.bool_,
    teardown=np.uint8,
    reset=np.uint8,
    reset_by=np.uint8,
    reset_ns=np.int64,
    closer=np.uint8,
    time_wait=np.uint8,
    conn_state=np.uint8,
    history=np.uint32,
    evidence_lost=np.bool_,
    syns=np.uint32,
    syn_acks=np.uint32,
    syn_ack_rtt_ns=np.int64,
    ack_rtt_ns=np.int64,
    scaled=np.bool_,
    sack=np.bool_,
    timestamps=np.bool_,
    fast_open_cookie=np.bool_,
    capture_duplicates=np.uint32,
    icmp_errors=np.uint32,
    icmp_type=np.int16,
    icmp_code=np.int16,
    first_packet=np.uint64,
    last_packet=np.uint64,
    previous=np.int32,
)


class SideColumns(NamedTuple):
    """Two places a connection: first all originators, then all responders."""

    packets: Any
    bytes: Any
    missing_bytes: Any
    isn: Any
    mss: Any
    wscale: Any
    sack: Any
    timestamps: Any
    new: Any
    retransmissions: Any
    partial: Any
    fast: Any
    timeout: Any
    spurious: Any
    retransmitted_bytes: Any
    out_of_order: Any
    keep_alives: Any
    probes: Any
    duplicate_acks: Any
    zero_windows: Any
    super_segments: Any
    pure_acks: Any
    fins: Any
    resets: Any
    rtt_samples: Any
    rtt_min_ns: Any
    rtt_mean_ns: Any


SIDE_TYPES = SideColumns(
    packets=np.uint32,
    bytes=np.uint64,
    missing_bytes=np.uint64,
    isn=np.int64,
    mss=np.int32,
    wscale=np.int8,
    sack=np.bool_,
    timestamps=np.bool_,
    new=np.uint32,
    retransmissions=np.uint32,
    partial=np.uint32,
    fast=np.uint32,
    timeout=np.uint32,
    spurious=np.uint32,
    retransmitted_bytes=np.uint32,
    out_of_order=np.uint32,
    keep_alives=np.uint32,
    probes=np.uint32,
    duplicate_acks=np.uint32,
    zero_windows=np.uint32,
    super_segments=np.uint32,
    pure_acks=np.uint32,
    fins=np.uint32,
    resets=np.uint32,
    rtt_samples=np.uint32,
    rtt_min_ns=np.int64,
    rtt_mean_ns=np.int64,
)


def connection_columns(count: int) -> tuple[ConnectionColumns, SideColumns]:
    """Make room for `count` connections."""
    return (
        ConnectionColumns(*(np.empty(count, kind) for kind in CONNECTION_TYPES)),
        SideColumns(*(np.empty(2 * count, kind) for kind in SIDE_TYPES)),
    )


class PacketColumns(NamedTuple):
    """One place a packet: what was read of it, and what it gets from its pair and its connection."""

    t_ns: Any
    capture: Any
    captured: Any
    original: Any
    vlan: Any
    ip_version: Any
    protocol: Any
    ip_id: Any
    ttl: Any
    source_port: Any
    destination_port: Any
    flags: Any
    seq: Any
    ack: Any
    timestamp_value: Any
    timestamp_echo: Any
    sack_blocks: Any
    payload: Any
    segment_class: Any
    retransmission_kind: Any
    marks: Any
    connection: Any
    flow: Any
    direction: Any
    source_address: Any
    destination_address: Any
    relative_seq: Any
    relative_ack: Any
    window: Any
    has_relative_seq: Any
    has_relative_ack: Any


PACKET_TYPES = PacketColumns(
    t_ns=np.int64,
    capture=np.uint16,
    captured=np.uint32,
    original=np.uint32,
    vlan=np.uint16,
    ip_version=np.uint8,
    protocol=np.uint8,
    ip_id=np.uint16,
    ttl=np.uint8,
    source_port=np.uint16,
    destination_port=np.uint16,
    flags=np.uint16,
    seq=np.uint32,
    ack=np.uint32,
    timestamp_value=np.uint32,
    timestamp_echo=np.uint32,
    sack_blocks=np.uint8,
    payload=np.uint32,
    segment_class=np.uint8,
    retransmission_kind=np.uint8,
    marks=np.uint16,
    connection=np.uint32,
    flow=np.uint32,
    direction=np.uint8,
    source_address=np.uint32,
    destination_address=np.uint32,
    relative_seq=np.uint32,
    relative_ack=np.uint32,
    window=np.uint32,
    has_relative_seq=np.bool_,
    has_relative_ack=np.bool_,
)
NO_ROW = 0xFFFFFFFF
"""Stands for null in `connection`, `flow`, `source_address`, `destination_address`."""


def packet_columns(count: int) -> PacketColumns:
    """Make room for `count` packets."""
    return PacketColumns(*(np.empty(count, kind) for kind in PACKET_TYPES))
