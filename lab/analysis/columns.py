"""The arrays that packets are taken apart into, one place a packet, and the short-lived ones beside them.

`PacketColumns` is what becomes the packets table. `Scratch` lives for one batch only: what later loops need of a packet
while its bytes are still at hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab.analysis.compiled import kernel


class PacketColumns(NamedTuple):
    """One place a packet. The types stand in `PACKET_TYPES`; meanings are those of the packets table in `tables.py`."""

    t_ns: Any
    capture: Any
    captured: Any
    original: Any
    ip_version: Any
    """0 where the frame holds no IP packet that could be read."""
    protocol: Any
    source_port: Any
    destination_port: Any
    flags: Any
    seq: Any
    ack: Any
    window: Any
    payload: Any
    """Bytes above the TCP, UDP or ICMP header, by the lengths in the headers (not by what was captured)."""
    ip_id: Any
    ttl: Any
    vlan: Any
    timestamp_value: Any
    timestamp_echo: Any
    sack_blocks: Any
    source_is_low: Any
    """1 where the packet's source is the lower endpoint of its pair (see `endpoints.py`)."""
    pair: Any
    """Row of `pairs`; -1 where there is none."""
    conversation: Any
    """Connection's id; flow id f as -2 - f; -1 where there is none."""
    segment_class: Any
    retransmission_kind: Any
    marks: Any


PACKET_TYPES = PacketColumns(
    t_ns=np.int64,
    capture=np.uint16,
    captured=np.uint32,
    original=np.uint32,
    ip_version=np.uint8,
    protocol=np.uint8,
    source_port=np.uint16,
    destination_port=np.uint16,
    flags=np.uint16,
    seq=np.uint32,
    ack=np.uint32,
    window=np.uint16,
    payload=np.uint32,
    ip_id=np.uint16,
    ttl=np.uint8,
    vlan=np.uint16,
    timestamp_value=np.uint32,
    timestamp_echo=np.uint32,
    sack_blocks=np.uint8,
    source_is_low=np.uint8,
    pair=np.int32,
    conversation=np.int32,
    segment_class=np.uint8,
    retransmission_kind=np.uint8,
    marks=np.uint16,
)


class Scratch(NamedTuple):
    """What the loops after `packets.dissect` need of each packet of a batch."""

    vantage: Any
    """Capture and, in a cooked capture of all interfaces, the interface's number: one vantage each."""
    source_high: Any
    source_low: Any
    destination_high: Any
    destination_low: Any
    """Addresses as two uint64; an IPv4 address is the low one alone."""
    transport: Any
    """Where the TCP, UDP or ICMP header starts in the buffer; -1 where it is not at hand (a later fragment, a cut packet)."""
    transport_end: Any
    """End of the captured bytes of the IP packet in the buffer."""
    transport_length: Any
    """Bytes of the IP packet above IP, on the wire."""
    fragment_offset: Any
    """Place of a later fragment's bytes in its datagram; 0 for a whole packet or a first fragment."""
    more_fragments: Any
    """1 where later fragments of the datagram follow."""
    fragment_id: Any
    """Identification shared by the fragments of one datagram; -1 where the packet is whole."""
    digest: Any
    """A number that equal packets share; 0 where the IP identification is zero or missing."""


SCRATCH_TYPES = Scratch(
    vantage=np.uint32,
    source_high=np.uint64,
    source_low=np.uint64,
    destination_high=np.uint64,
    destination_low=np.uint64,
    transport=np.int64,
    transport_end=np.int64,
    transport_length=np.int64,
    fragment_offset=np.int64,
    more_fragments=np.uint8,
    fragment_id=np.int64,
    digest=np.uint64,
)


def packet_columns(capacity: int) -> PacketColumns:
    """Make room for `capacity` packets."""
    return PacketColumns(*(np.empty(capacity, kind) for kind in PACKET_TYPES))


def scratch(capacity: int) -> Scratch:
    """Make room for one batch."""
    return Scratch(*(np.empty(capacity, kind) for kind in SCRATCH_TYPES))


@kernel
def big16(buffer, at):
    """The 16-bit number in network byte order at `at`."""
    return np.int64(buffer[at]) << 8 | np.int64(buffer[at + 1])


@kernel
def big32(buffer, at):
    """The 32-bit number in network byte order at `at`."""
    return big16(buffer, at) << 16 | big16(buffer, at + 2)


@kernel
def big64(buffer, at):
    """The 64-bit number in network byte order at `at`."""
    return np.uint64(big32(buffer, at)) << np.uint64(32) | np.uint64(big32(buffer, at + 4))


@kernel
def mixed(a, b):
    """Mix two uint64 into one whose bits all depend on both (the finaliser of SplitMix64)."""
    x = (a ^ (b * np.uint64(0x9E3779B97F4A7C15))) + np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
