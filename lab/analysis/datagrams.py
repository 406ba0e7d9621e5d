"""Flows and ICMP: exchanges of UDP datagrams, ICMP questions and answers, and what an ICMP error says about whom.

A flow is all packets between two endpoints of one protocol at one vantage; UDP has no opening or end, and no timer is
made up here to invent one. Its originator sent the first packet seen. Coalescing cannot happen: a unit is a datagram.

An ICMP error quotes the packet that caused it (RFC 792, RFC 4443 3, RFC 5927): it is joined to that packet's
connection or flow.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined
from lab.analysis.endpoints import FIND_ONLY, Endpoint, find_pair, is_lower, live_of, ordered, pair_hash
from lab.analysis.packet_records import big16, big32, big64
from lab.analysis.state import FLOWS, FRESH_FLOW
from lab.analysis.words import ICMP, ICMP6, ICMP_ERROR_PACKET, TCP, UDP

# ICMP errors: destination unreachable, source quench, time exceeded, parameter problem; ICMPv6 errors are types 1 to 4.
ERRORS_IPV4 = (3, 4, 11, 12)
LAST_ERROR_IPV6 = 4


@inlined
def follow_flow(state, packet, index, fragment_offset):
    """Count a packet of a flow; the first one opens it."""
    pair = state.pairs[packet.pair]
    from_low = packet.source_is_low
    live = live_of(state, packet.pair)
    if live < 0:
        live = np.int64(state.counts[FLOWS])
        state.counts[FLOWS] += 1
        state.live[packet.pair] = live + 1
        state.flows[live] = FRESH_FLOW[0]
        flow = state.flows[live]
        flow.pair = packet.pair
        flow.first_t = packet.t_ns
        flow.first_packet = index
        flow.orig = 0 if from_low else 1
        if pair.protocol in (ICMP, ICMP6):
            flow.icmp_type = packet.source_port
            flow.icmp_code = packet.destination_port
    flow = state.flows[live]
    flow.last_t = packet.t_ns
    flow.last_packet = index
    if fragment_offset:
        flow.fragments += 1
    elif from_low:
        flow.low_packets += 1
    else:
        flow.high_packets += 1
    if from_low:
        flow.low_bytes += np.int64(packet.payload)
    else:
        flow.high_bytes += np.int64(packet.payload)
    if flow.first_reply_t < 0 and from_low == flow.orig:
        flow.first_reply_t = packet.t_ns
    packet.conversation = -2 - live


@inlined
def is_icmp_error(packet):
    """Whether the packet is an ICMP message that reports an error."""
    kind = packet.source_port
    if packet.protocol == ICMP:
        return kind in ERRORS_IPV4
    return packet.protocol == ICMP6 and 1 <= kind <= LAST_ERROR_IPV6


@inlined
def follow_icmp_error(buffer, state, packet, index, at, stop, vantage):
    """Join an ICMP error (header at `at`) to the connection or flow it quotes; False if that is not known."""
    quoted = at + 8
    if packet.protocol == ICMP:
        if quoted + 20 > stop:
            return False
        source_high, source_low = np.uint64(0), np.uint64(big32(buffer, quoted + 12))
        destination_high, destination_low = np.uint64(0), np.uint64(big32(buffer, quoted + 16))
        protocol = np.int64(buffer[quoted + 9])
        ports = quoted + (buffer[quoted] & 0x0F) * 4
    else:
        if quoted + 40 > stop:
            return False
        source_high, source_low = big64(buffer, quoted + 8), big64(buffer, quoted + 16)
        destination_high, destination_low = big64(buffer, quoted + 24), big64(buffer, quoted + 32)
        protocol = np.int64(buffer[quoted + 6])
        ports = quoted + 40
    if protocol not in (TCP, UDP) or ports + 4 > stop:
        return False
    source = Endpoint(source_high, source_low, big16(buffer, ports))
    destination = Endpoint(destination_high, destination_low, big16(buffer, ports + 2))
    low, high = ordered(source, destination, is_lower(source, destination))
    hashed = pair_hash(low, high, protocol, packet.ip_version, vantage)
    pair = find_pair(state, low, high, hashed, protocol, packet.ip_version, vantage, FIND_ONLY)
    live = live_of(state, pair) if pair >= 0 else np.int64(-1)
    if live < 0:
        return False
    packet.marks |= ICMP_ERROR_PACKET
    if protocol == TCP:
        connection = state.connections[live]
        connection.icmp_errors += 1
        connection.icmp_type = packet.source_port
        connection.icmp_code = packet.destination_port
        packet.conversation = live
    else:
        flow = state.flows[live]
        flow.icmp_errors += 1
        flow.icmp_type = packet.source_port
        flow.icmp_code = packet.destination_port
        packet.conversation = -2 - live
    return True
