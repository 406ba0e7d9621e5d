"""What packets are taken apart into: one record a packet, a short-lived one beside it; and numbers from bytes."""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined

PACKET = np.dtype(
    [
        ("t_ns", np.int64),
        ("captured", np.uint32),
        ("original", np.uint32),
        ("seq", np.uint32),
        ("ack", np.uint32),
        ("payload", np.uint32),
        ("timestamp_value", np.uint32),
        ("timestamp_echo", np.uint32),
        ("pair", np.int32),
        ("conversation", np.int32),
        ("capture", np.uint16),
        ("source_port", np.uint16),
        ("destination_port", np.uint16),
        ("flags", np.uint16),
        ("window", np.uint16),
        ("ip_id", np.uint16),
        ("vlan", np.uint16),
        ("marks", np.uint16),
        ("ip_version", np.uint8),
        ("protocol", np.uint8),
        ("ttl", np.uint8),
        ("sack_blocks", np.uint8),
        ("source_is_low", np.uint8),
        ("segment_class", np.uint8),
        ("retransmission_kind", np.uint8),
    ],
    align=True,
)
"""What is kept of a packet. Meanings are those of the packets table in `tables.py`, but:

- `ip_version`: 0 where the frame holds no IP packet that could be read;
- `payload`: by the lengths in the headers, not by what was captured;
- `pair`: row of `pairs`, -1 where there is none; `source_is_low`: its source is the lower endpoint of that pair;
- `conversation`: a connection's id; flow f as -2 - f; -1 where there is none;
- for ICMP, `source_port` and `destination_port` hold type and code.
"""

WORK = np.dtype(
    [
        ("source_high", np.uint64),
        ("source_low", np.uint64),
        ("destination_high", np.uint64),
        ("destination_low", np.uint64),
        ("hash", np.uint64),
        ("slot", np.uint64),
        ("digest", np.uint64),
        ("transport", np.int32),
        ("transport_end", np.int32),
        ("transport_length", np.uint32),
        ("fragment_id", np.uint32),
        ("vantage", np.uint32),
        ("fragment_offset", np.uint16),
        ("source_port", np.uint16),
        ("destination_port", np.uint16),
        ("mss", np.uint16),
        ("window_scale", np.int8),
        ("offers", np.uint8),
        ("more_fragments", np.uint8),
        ("has_pair", np.uint8),
    ],
    align=True,
)
"""What the loops after `packets.dissect` need of each packet of a batch while its bytes are still at hand.

- addresses as two uint64; an IPv4 address is the low one alone; ports as `endpoints` tells exchanges apart by them;
- `has_pair`: addresses and ports are at hand; `hash` is that of both endpoints; `slot`: what the hash table holds at
  the first place where the pair may stand;
- `digest`: a number that equal packets share; 0 where the IP identification is zero or missing;
- `transport`: where the TCP, UDP or ICMP header starts in the buffer, -1 where it is not at hand (a later fragment, a
  cut packet); `transport_end`: end of the packet's captured bytes; `transport_length`: bytes above IP, on the wire;
- `fragment_id`: identification shared by the fragments of one datagram, where the packet is marked a fragment;
  `fragment_offset`: 0 for a whole packet or a first fragment; `more_fragments`: later fragments of the datagram
  follow;
- `mss`, `window_scale`, `offers`: what the options of a SYN offer (`options.py`);
- `vantage`: the capture and, in a cooked capture of all interfaces, the interface's number: one vantage each.
"""


@inlined
def big16(buffer, at):
    """The 16-bit number in network byte order at `at`."""
    # An unsigned index is never one from the end: without that case, the byte loads become one load of the number.
    place = np.uint64(at)
    return np.int64(buffer[place]) << 8 | np.int64(buffer[place + np.uint64(1)])


@inlined
def big32(buffer, at):
    """The 32-bit number in network byte order at `at`."""
    return big16(buffer, at) << 16 | big16(buffer, at + 2)


@inlined
def big64(buffer, at):
    """The 64-bit number in network byte order at `at`."""
    # Not as two of 32 bits: only this form becomes one load.
    p = np.uint64(at)
    return (
        byte_at(buffer, p) << np.uint64(56)
        | byte_at(buffer, p + np.uint64(1)) << np.uint64(48)
        | byte_at(buffer, p + np.uint64(2)) << np.uint64(40)
        | byte_at(buffer, p + np.uint64(3)) << np.uint64(32)
        | byte_at(buffer, p + np.uint64(4)) << np.uint64(24)
        | byte_at(buffer, p + np.uint64(5)) << np.uint64(16)
        | byte_at(buffer, p + np.uint64(6)) << np.uint64(8)
        | byte_at(buffer, p + np.uint64(7))
    )


@inlined
def byte_at(buffer, place):
    """One byte as uint64."""
    return np.uint64(buffer[place])


@inlined
def mixed(a, b):
    """Mix two uint64 into one whose bits all depend on both (the finaliser of SplitMix64)."""
    x = (a ^ (b * np.uint64(0x9E3779B97F4A7C15))) + np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
