"""From packets to columns, with what only the end of their connections could tell: direction, relative numbers, scale.

Runs when all packets are through: a SYN that stands late in the file says what its connection's numbers count from.
What a row needs of a connection takes 24 bytes, which `sum_up` puts side by side; a capture's packets come from many
connections in turn, and so these stay in the near caches (and of a large capture in memory, see `spill.py`).

Which columns hold null for a packet is one number, a bit a reason (`KNOWN_*`). Of many captures all packets are alike
in that, which `finish_packets` tells, and nobody needs to look at each again.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.columns import (
    ACK_NUMBER,
    CAPTURED,
    CONNECTION,
    DESTINATION_ADDRESS,
    DESTINATION_PORT,
    DIRECTION,
    FLAGS,
    FLOW,
    INTERFACE,
    IP_ID,
    KNOWN,
    MARKS,
    ORIGINAL,
    PAYLOAD,
    PROTOCOL,
    RELATIVE_ACK,
    RELATIVE_SEQ,
    RETRANSMISSION_KIND,
    SACK_BLOCKS,
    SEGMENT_CLASS,
    SEQ,
    SOURCE_ADDRESS,
    SOURCE_PORT,
    T_NS,
    TIMESTAMP_ECHO,
    TIMESTAMP_VALUE,
    TTL,
    VERSION,
    VLAN,
    WINDOW,
)
from lab.analysis.compiled import inlined, kernel
from lab.analysis.packets import NO_VLAN
from lab.analysis.sequence import advanced
from lab.analysis.words import ACK, ICMP, ICMP6, SYN, TCP, UDP

END = np.dtype(
    [("zero", np.uint32), ("address", np.uint32), ("seen", np.uint8), ("shift", np.uint8), ("is_orig", np.uint8)],
    align=True,
)
"""One side of a connection, as rows of its packets need it: `zero`, the sequence number that is shown as 0 (the ISN, or
one before the first number seen where no SYN was); `seen`: its stream was; `shift`: its windows are scaled by that."""

KNOWN_IP, KNOWN_IPV4, KNOWN_TCP, KNOWN_ACK, KNOWN_ICMP, KNOWN_PORTS, KNOWN_ADDRESSES, KNOWN_VLAN = (
    1 << bit for bit in range(8)
)
KNOWN_TIMESTAMPS, KNOWN_RELATIVE_SEQ, KNOWN_RELATIVE_ACK, KNOWN_CONNECTION, KNOWN_FLOW = (
    1 << bit for bit in range(8, 13)
)
KNOWN_DIRECTION, KNOWN_CLASS, KNOWN_RETRANSMISSION = (1 << bit for bit in range(13, 16))
ALL_KNOWN = (1 << 16) - 1
AT_ONCE = 256
"""Packets whose columns are written by one loop after the other: their records stay in the nearest cache."""


@inlined
def zero_of(side):
    """The sequence number that the side's relative numbers count from."""
    return np.int64(side.isn) if side.has_isn else advanced(side.base, -1)


@kernel
def sum_up(state, first, count, ends):
    """Write both ends of connections `first` to `first + count` to `ends[2 * number]` and the place behind it."""
    for number in range(first, first + count):
        connection = state.connections[number]
        pair = state.pairs[connection.pair]
        ends[2 * number].address = pair.low_address
        ends[2 * number + 1].address = pair.high_address
        both_scale = state.sides[2 * number].window_scale >= 0 and state.sides[2 * number + 1].window_scale >= 0
        for from_high in range(2):
            side, end = state.sides[2 * number + from_high], ends[2 * number + from_high]
            end.zero = zero_of(side)
            end.seen = side.seen
            end.shift = side.window_scale if both_scale else 0
            end.is_orig = connection.orig == from_high


@kernel
def finish_packets(state, ends, packets, out):
    """Write packets as columns; returns (what is known of all, what is known of any, the marks that any has)."""
    of_all, of_any, marks = ALL_KNOWN, 0, 0
    for start in range(0, packets.size, AT_ONCE):
        stop = min(packets.size, start + AT_ONCE)
        copy_numbers(packets, start, stop, out)
        copy_codes(packets, start, stop, out)
        for i in range(start, stop):
            known = from_its_connection(state, ends, packets[i], i, out)
            known |= from_its_headers(packets[i])
            out.u16[KNOWN, i] = known
            of_all &= known
            of_any |= known
            marks |= np.int64(packets[i].marks)
    return of_all, of_any, marks


@inlined
def copy_numbers(packets, start, stop, out):
    """Write what stands in the packets' records in 32 bits and more."""
    for i in range(start, stop):
        packet = packets[i]
        out.i64[T_NS, i] = packet.t_ns
        out.u32[CAPTURED, i] = packet.captured
        out.u32[ORIGINAL, i] = packet.original
        out.u32[SEQ, i] = packet.seq
        out.u32[ACK_NUMBER, i] = packet.ack
        out.u32[TIMESTAMP_VALUE, i] = packet.timestamp_value
        out.u32[TIMESTAMP_ECHO, i] = packet.timestamp_echo
        out.u32[PAYLOAD, i] = packet.payload


@inlined
def copy_codes(packets, start, stop, out):
    """Write what stands in the packets' records in 16 bits and less."""
    for i in range(start, stop):
        packet = packets[i]
        out.u16[INTERFACE, i] = packet.capture
        out.u16[VLAN, i] = packet.vlan
        out.u16[IP_ID, i] = packet.ip_id
        out.u16[SOURCE_PORT, i] = packet.source_port
        out.u16[DESTINATION_PORT, i] = packet.destination_port
        out.u16[FLAGS, i] = packet.flags
        out.u16[MARKS, i] = packet.marks
        out.u8[VERSION, i] = packet.ip_version
        out.u8[PROTOCOL, i] = packet.protocol
        out.u8[TTL, i] = packet.ttl
        out.u8[SACK_BLOCKS, i] = packet.sack_blocks
        out.u8[SEGMENT_CLASS, i] = packet.segment_class
        out.u8[RETRANSMISSION_KIND, i] = packet.retransmission_kind


@inlined
def from_its_headers(packet):
    """Say what the packet itself tells, as bits."""
    known = 0
    if packet.ip_version:
        known |= KNOWN_IP
        if packet.ip_version == 4:
            known |= KNOWN_IPV4
    if packet.protocol == TCP:
        if packet.flags:
            known |= KNOWN_TCP
            if packet.flags & ACK:
                known |= KNOWN_ACK
        if packet.pair >= 0:
            known |= KNOWN_PORTS
    elif packet.protocol == UDP:
        if packet.pair >= 0:
            known |= KNOWN_PORTS
    elif packet.protocol == ICMP or packet.protocol == ICMP6:
        known |= KNOWN_ICMP
    if packet.pair >= 0:
        known |= KNOWN_ADDRESSES
    if packet.vlan != NO_VLAN:
        known |= KNOWN_VLAN
    if packet.timestamp_value or packet.timestamp_echo:
        known |= KNOWN_TIMESTAMPS
    if packet.segment_class:
        known |= KNOWN_CLASS
    if packet.retransmission_kind:
        known |= KNOWN_RETRANSMISSION
    return known


@inlined
def from_its_connection(state, ends, packet, i, out):
    """Write what the packet's connection or flow tells; says what that is, as bits."""
    conversation, from_high = np.int64(packet.conversation), 1 - np.int64(packet.source_is_low)
    window = np.int64(packet.window)
    direction, known = 0, 0
    if conversation >= 0:
        known |= KNOWN_CONNECTION
        out.u32[CONNECTION, i] = conversation
    elif conversation <= -2:
        known |= KNOWN_FLOW
        out.u32[FLOW, i] = -2 - conversation
    if conversation >= 0 and packet.protocol == TCP:
        me, peer = ends[2 * conversation + from_high], ends[2 * conversation + 1 - from_high]
        out.u32[SOURCE_ADDRESS, i] = me.address
        out.u32[DESTINATION_ADDRESS, i] = peer.address
        direction = 1 if me.is_orig else 2
        if me.seen:
            known |= KNOWN_RELATIVE_SEQ
            out.u32[RELATIVE_SEQ, i] = advanced(packet.seq, -np.int64(me.zero))
        if peer.seen and packet.flags & ACK:
            known |= KNOWN_RELATIVE_ACK
            out.u32[RELATIVE_ACK, i] = advanced(packet.ack, -np.int64(peer.zero))
        if not packet.flags & SYN:
            window <<= np.int64(me.shift)
    elif packet.pair >= 0:
        pair = state.pairs[packet.pair]
        out.u32[SOURCE_ADDRESS, i] = pair.high_address if from_high else pair.low_address
        out.u32[DESTINATION_ADDRESS, i] = pair.low_address if from_high else pair.high_address
        # An ICMP error joined to a flow is none of its packets.
        if conversation <= -2 and state.flows[-2 - conversation].pair == packet.pair:
            direction = 1 if state.flows[-2 - conversation].orig == from_high else 2
    out.u32[WINDOW, i] = window
    out.u8[DIRECTION, i] = direction
    if direction:
        known |= KNOWN_DIRECTION
    return known
