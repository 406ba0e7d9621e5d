"""Pairs of endpoints: from addresses, ports, protocol and vantage of a packet to a row of `state.pairs`.

Both directions find the same row: the endpoints are ordered, lower one first. An open-addressing hash table, at most
half full.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab.analysis.compiled import inlined, kernel
from lab.analysis.packet_records import big16, mixed
from lab.analysis.prefetch import prefetch
from lab.analysis.state import ADDRESSES, PAIRS, RECENT_PACKETS, State
from lab.analysis.words import ICMP, ICMP6, TCP, UDP

AT_ONCE = 64
"""Packets whose pairs are looked up at once: so many fetches from memory are under way."""
CREATE, FIND_ONLY = np.bool_(True), np.bool_(False)
INDEX_BITS = np.uint64(0xFFFFFFFF)

# ICMP messages that come as question and answer, by (question, answer): RFC 792, RFC 4443, RFC 950.
ECHO_REPLY, ECHO, TIMESTAMP, TIMESTAMP_REPLY, MASK, MASK_REPLY = 0, 8, 13, 14, 17, 18
ECHO6, ECHO6_REPLY = 128, 129


class Endpoint(NamedTuple):
    """An address (two uint64; an IPv4 address is the low one alone) and a port."""

    high: Any
    low: Any
    port: Any


@inlined
def pair_hash(low, high, protocol, ip_version, vantage):
    """One number for both endpoints, the protocol and the vantage."""
    ports = np.int64(low.port) << 16 | np.int64(high.port)
    tail = np.int64(protocol) << 40 | np.int64(ip_version) << 36 | np.int64(vantage)
    lower = low.low ^ (low.high * np.uint64(0xFF51AFD7ED558CCD))
    higher = high.low ^ (high.high * np.uint64(0xC4CEB9FE1A85EC53))
    ends = lower * np.uint64(0xA0761D6478BD642F) ^ higher
    return mixed(ends, (np.uint64(ports) << np.uint64(32)) ^ np.uint64(tail))


@inlined
def is_lower(a, b):
    """The order of the two endpoints of a pair: by address, then by port."""
    if a.high != b.high:
        return a.high < b.high
    if a.low != b.low:
        return a.low < b.low
    return a.port <= b.port


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
    known.originator = 0
    return row


@inlined
def ordered(source, destination, source_is_low):
    """Both endpoints, the lower one first."""
    if source_is_low:
        return source, destination
    return destination, source


@inlined
def find_pair(state, low, high, hashed, protocol, ip_version, vantage, create):
    """The row of the pair of these endpoints; by `CREATE` a new one if it was never seen, otherwise -1."""
    mask = state.slots.size - 1
    upper = hashed & ~INDEX_BITS
    place = np.int64(hashed & np.uint64(mask))
    while state.slots[place]:
        slot = state.slots[place]
        if slot & ~INDEX_BITS == upper:
            row = np.int64(slot & INDEX_BITS) - 1
            if is_pair(state.pairs[row], low, high, protocol, ip_version, vantage):
                return row
        place = (place + 1) & mask
    if not create:
        return np.int64(-1)
    row = state.counts[PAIRS]
    state.counts[PAIRS] = row + 1
    state.slots[place] = upper | np.uint64(row + 1)
    pair = state.pairs[row]
    pair.low_high = low.high
    pair.low_low = low.low
    pair.high_high = high.high
    pair.high_low = high.low
    pair.low_port = low.port
    pair.high_port = high.port
    pair.protocol = protocol
    pair.ip_version = ip_version
    pair.vantage = vantage
    pair.hash = hashed
    pair.low_address = address_row(state, low.high, low.low, ip_version)
    pair.high_address = address_row(state, high.high, high.low, ip_version)
    return row


@inlined
def is_pair(pair, low, high, protocol, ip_version, vantage):
    """Whether a row of `pairs` is that of these endpoints."""
    return (
        pair.low_low == low.low
        and pair.high_low == high.low
        and pair.low_port == low.port
        and pair.high_port == high.port
        and pair.low_high == low.high
        and pair.high_high == high.high
        and pair.vantage == vantage
        and pair.protocol == protocol
        and pair.ip_version == ip_version
    )


@inlined
def note_endpoints(buffer, packet, work):
    """Order and hash the endpoints of an IP packet just taken apart: all about them that needs no memory of others.

    A later fragment has no ports; `follow` gives it the pair of its first fragment.
    """
    protocol = packet.protocol
    source_port, destination_port = np.int64(packet.source_port), np.int64(packet.destination_port)
    if protocol in (ICMP, ICMP6):
        source_port = conversation_port(buffer, np.int64(work.transport), source_port)
        destination_port = source_port
    ports_missing = work.transport < 0 and protocol in (TCP, UDP)
    work.has_pair = not work.fragment_offset and not ports_missing
    work.source_port = source_port
    work.destination_port = destination_port
    source, destination = source_of(work), destination_of(work)
    packet.source_is_low = is_lower(source, destination)
    low, high = ordered(source, destination, packet.source_is_low)
    work.hash = pair_hash(low, high, protocol, packet.ip_version, work.vantage)
    if work.digest:  # equal bytes between other endpoints, or the other way, are no copy
        work.digest ^= work.hash + np.uint64(packet.source_is_low)


@inlined
def source_of(work):
    """The sender of a packet."""
    return Endpoint(work.source_high, work.source_low, work.source_port)


@inlined
def destination_of(work):
    """The receiver of a packet."""
    return Endpoint(work.destination_high, work.destination_low, work.destination_port)


@kernel
def resolve(packets, first, count, works, state):
    """Find the pairs of a batch, new ones too: of `works[:count]` and the packets beside them, from `packets[first]`.

    What one packet needs lies behind two steps (its place in the hash table, its pair), each of which may have to come
    from far: each step is taken for a few packets while memory fetches the next.
    """
    mask = np.uint64(state.slots.size - 1)
    for start in range(0, count, AT_ONCE):
        stop = min(count, start + AT_ONCE)
        for i in range(start, stop):
            prefetch(state.slots, np.int64(works[i].hash & mask), 0)
        for i in range(start, stop):
            work = works[i]
            work.slot = state.slots[np.int64(work.hash & mask)]
            prefetch(state.pairs, np.int64(work.slot & INDEX_BITS) - 1, 0)
        for i in range(start, stop):
            packet, work = packets[first + i], works[i]
            if not work.has_pair:
                continue
            protocol, ip_version, vantage = packet.protocol, packet.ip_version, work.vantage
            low, high = ordered(source_of(work), destination_of(work), packet.source_is_low)
            row = np.int64(work.slot & INDEX_BITS) - 1
            if row < 0 or not is_pair(state.pairs[row], low, high, protocol, ip_version, vantage):
                row = find_pair(state, low, high, work.hash, protocol, ip_version, vantage, CREATE)
            packet.pair = row


@inlined
def live_of(state, pair):
    """The pair's latest connection or flow, -1 before any."""
    return np.int64(state.live[pair]) - 1


@inlined
def recent_place(work):
    """Where in `state.recent` a copy of the packet would be found."""
    return np.int64(work.digest & np.uint64(RECENT_PACKETS - 1))


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


def room_in_slots(state: State) -> int:
    """How many more packets may come until a hash table would be more than half full."""
    pairs, addresses = int(state.counts[PAIRS]), int(state.counts[ADDRESSES])
    return min(int(state.slots.size) // 2 - pairs, (int(state.address_slots.size) // 2 - addresses) // 2)


def with_slots(state: State, packets: int) -> State:
    """The same state with hash tables that stay at most half full while `packets` more packets come."""
    pairs, addresses = int(state.counts[PAIRS]), int(state.counts[ADDRESSES])
    if 2 * (pairs + packets) > state.slots.size:
        slots = np.zeros(1 << (2 * (pairs + packets) - 1).bit_length(), np.uint64)
        fill_slots(slots, state.pairs, pairs)
        state = state._replace(slots=slots)
    if 2 * (addresses + 2 * packets) > state.address_slots.size:
        slots = np.zeros(1 << (4 * (addresses + 2 * packets) - 1).bit_length(), np.uint32)
        fill_address_slots(slots, state.addresses, addresses)
        state = state._replace(address_slots=slots)
    return state
