"""Pairs of endpoints: from addresses, ports, protocol and vantage of a packet to a row of `state.pairs`.

Both directions find the same row: the endpoints are ordered, lower one first. An open-addressing hash table, at most
half full.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined, kernel
from lab.analysis.packet_records import big16, mixed
from lab.analysis.state import ADDRESSES, PAIRS, State
from lab.analysis.words import ICMP, ICMP6

CREATE, FIND_ONLY = np.bool_(True), np.bool_(False)
INDEX_BITS = np.uint64(0xFFFFFFFF)

# ICMP messages that come as question and answer, by (question, answer): RFC 792, RFC 4443, RFC 950.
ECHO_REPLY, ECHO, TIMESTAMP, TIMESTAMP_REPLY, MASK, MASK_REPLY = 0, 8, 13, 14, 17, 18
ECHO6, ECHO6_REPLY = 128, 129


@inlined
def pair_hash(low_high, low_low, high_high, high_low, ports, protocol_and_vantage):
    """One number for both endpoints, the protocol and the vantage."""
    hashed = mixed(low_low ^ (low_high * np.uint64(0xFF51AFD7ED558CCD)), high_low)
    return mixed(hashed ^ high_high, (np.uint64(ports) << np.uint64(32)) ^ np.uint64(protocol_and_vantage))


@inlined
def source_is_lower(source_high, source_low, source_port, destination_high, destination_low, destination_port):
    """The order of the two endpoints of a pair: by address, then by port."""
    if source_high != destination_high:
        return source_high < destination_high
    if source_low != destination_low:
        return source_low < destination_low
    return source_port <= destination_port


@kernel
def address_row(state, high, low, ip_version):
    """The row of an address in `addresses`; one is made if it is new."""
    mask = state.address_slots.size - 1
    place = np.int64(mixed(high, low + np.uint64(ip_version)) & np.uint64(mask))
    while state.address_slots[place]:
        row = np.int64(state.address_slots[place]) - 1
        known = state.addresses[row]
        if known.low == low and known.high == high and known.ip_version == ip_version:
            return row
        place = (place + 1) & mask
    row = state.counts[ADDRESSES]
    state.counts[ADDRESSES] = row + 1
    state.address_slots[place] = row + 1
    known = state.addresses[row]
    known.high = high
    known.low = low
    known.ip_version = ip_version
    return row


@inlined
def find_pair(state, high_a, low_a, port_a, high_b, low_b, port_b, protocol, ip_version, vantage, create):
    """The row of the pair of endpoints a (source) and b; by `CREATE` a new one if it was never seen, otherwise -1.

    Returns (row, whether a is the lower endpoint).
    """
    a_is_low = source_is_lower(high_a, low_a, port_a, high_b, low_b, port_b)
    if not a_is_low:
        high_a, high_b = high_b, high_a
        low_a, low_b = low_b, low_a
        port_a, port_b = port_b, port_a
    tail = np.int64(protocol) << 40 | np.int64(ip_version) << 36 | np.int64(vantage)
    hashed = pair_hash(high_a, low_a, high_b, low_b, np.int64(port_a) << 16 | np.int64(port_b), tail)
    mask = state.slots.size - 1
    upper = hashed & ~INDEX_BITS
    place = np.int64(hashed & np.uint64(mask))
    while state.slots[place]:
        slot = state.slots[place]
        if slot & ~INDEX_BITS == upper:
            row = np.int64(slot & INDEX_BITS) - 1
            pair = state.pairs[row]
            if (
                pair.low_low == low_a
                and pair.high_low == low_b
                and pair.low_port == port_a
                and pair.high_port == port_b
                and pair.low_high == high_a
                and pair.high_high == high_b
                and pair.vantage == vantage
                and pair.protocol == protocol
                and pair.ip_version == ip_version
            ):
                return row, a_is_low
        place = (place + 1) & mask
    if not create:
        return np.int64(-1), a_is_low
    row = state.counts[PAIRS]
    state.counts[PAIRS] = row + 1
    state.slots[place] = upper | np.uint64(row + 1)
    pair = state.pairs[row]
    pair.low_high = high_a
    pair.low_low = low_a
    pair.high_high = high_b
    pair.high_low = low_b
    pair.low_port = port_a
    pair.high_port = port_b
    pair.protocol = protocol
    pair.ip_version = ip_version
    pair.vantage = vantage
    pair.hash = hashed
    pair.live = -1
    pair.low_address = address_row(state, high_a, low_a, ip_version)
    pair.high_address = address_row(state, high_b, low_b, ip_version)
    return row, a_is_low


@inlined
def resolve(buffer, packets, first, works, start, stop, state):
    """Find the pairs of a few packets ahead of the loop that follows connections: memory answers in parallel.

    They are `works[start:stop]` and the packets beside them, from `packets[first + start]`.

    A later fragment has no ports; `follow` gives it the pair of its first fragment.
    """
    for i in range(start, stop):
        packet, work = packets[first + i], works[i]
        ip_version = packet.ip_version
        if ip_version == 0 or work.fragment_offset:
            continue
        protocol = np.int64(packet.protocol)
        port_a, port_b = np.int64(packet.source_port), np.int64(packet.destination_port)
        if protocol in (ICMP, ICMP6):
            port_a = conversation_port(buffer, work.transport, port_a)
            port_b = port_a
        elif work.transport < 0 and protocol in (6, 17):
            continue  # ports unknown
        pair, is_low = find_pair(
            state,
            work.source_high,
            work.source_low,
            port_a,
            work.destination_high,
            work.destination_low,
            port_b,
            protocol,
            ip_version,
            work.vantage,
            CREATE,
        )
        packet.pair = pair
        packet.source_is_low = is_low


@inlined
def conversation_port(buffer, at, icmp_type):
    """What tells ICMP exchanges between two addresses apart: the identifier of questions and answers, else the type."""
    if at >= 0 and icmp_type in (
        ECHO_REPLY, ECHO, TIMESTAMP, TIMESTAMP_REPLY, MASK, MASK_REPLY, ECHO6, ECHO6_REPLY
    ):  # fmt: skip
        return big16(buffer, at + 4)
    return icmp_type


@kernel
def fill_slots(slots, pairs, count):
    """Enter `count` pairs into an empty table."""
    mask = slots.size - 1
    for row in range(count):
        hashed = pairs[row].hash
        place = np.int64(hashed & np.uint64(mask))
        while slots[place]:
            place = (place + 1) & mask
        slots[place] = (hashed & ~INDEX_BITS) | np.uint64(row + 1)


@kernel
def fill_address_slots(slots, addresses, count):
    """Enter `count` addresses into an empty table."""
    mask = slots.size - 1
    for row in range(count):
        address = addresses[row]
        place = np.int64(mixed(address.high, address.low + np.uint64(address.ip_version)) & np.uint64(mask))
        while slots[place]:
            place = (place + 1) & mask
        slots[place] = row + 1


def with_slots(state: State, packets: int) -> State:
    """The same state with hash tables that stay at most half full while `packets` more packets come."""
    pairs, addresses = int(state.counts[PAIRS]), int(state.counts[ADDRESSES])
    if 2 * (pairs + packets) > state.slots.size:
        slots = np.zeros(1 << (4 * (pairs + packets) - 1).bit_length(), np.uint64)
        fill_slots(slots, state.pairs, pairs)
        state = state._replace(slots=slots)
    if 2 * (addresses + 2 * packets) > state.address_slots.size:
        slots = np.zeros(1 << (4 * (addresses + 2 * packets) - 1).bit_length(), np.uint32)
        fill_address_slots(slots, state.addresses, addresses)
        state = state._replace(address_slots=slots)
    return state
