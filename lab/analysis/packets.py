"""Taking packets apart: from the link's header through IP to TCP, UDP and ICMP, into the records of
`packet_records.py`.

Link layers: Ethernet, VLAN tags (802.1Q, 802.1ad, stacked), Linux cooked captures (SLL, SLL2), raw IP, null and
loopback. IPv4, and IPv6 with its extension headers; fragments. A packet cut by the snap length yields what its bytes
still say; its payload's length comes from the IP header. Nothing is trusted: every read is checked against the
captured bytes first, and a header that contradicts itself marks its packet `malformed` and takes no further part.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined, kernel
from lab.analysis.endpoints import note_endpoints
from lab.analysis.options import no_options, read_options
from lab.analysis.packet_records import big16, big32, big64, mixed
from lab.analysis.words import FRAGMENT, ICMP, ICMP6, MALFORMED, SNAPPED, SYN, TCP, UDP

# LINKTYPE_ numbers (https://www.tcpdump.org/linktypes.html).
NULL, ETHERNET, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
RAW_OF_OLD = (12, 14)  # what DLT_RAW is called in some files

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD = 0x8100, 0x88A8, 0x9100
NO_VLAN = 0xFFFF

HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 51, 60, 135
MOST_EXTENSION_HEADERS = 16

NOP_NOP_TIMESTAMPS = 0x0101080A
"""How the options of nearly every segment begin (RFC 7323 appendix A)."""


@inlined
def ethertype_of_version(buffer, at, end):
    """The EtherType that a bare IP packet's version nibble stands for; 0 for neither."""
    if at >= end:
        return 0
    version = buffer[at] >> 4
    if version == 4:
        return ETHERTYPE_IPV4
    if version == 6:
        return ETHERTYPE_IPV6
    return 0


@inlined
def link_header(buffer, at, end, linktype):
    """Step over the link's header; returns (where its payload starts, EtherType or 0, interface number or 0)."""
    if linktype == ETHERNET:
        if at + 14 > end:
            return at, 0, 0
        return at + 14, big16(buffer, at + 12), 0
    if linktype == LINUX_SLL:
        if at + 16 > end:
            return at, 0, 0
        return at + 16, big16(buffer, at + 14), 0
    if linktype == LINUX_SLL2:
        if at + 20 > end:
            return at, 0, 0
        return at + 20, big16(buffer, at), big32(buffer, at + 4)
    if linktype in (RAW, IPV4, IPV6, *RAW_OF_OLD):
        return at, ethertype_of_version(buffer, at, end), 0
    if linktype in (NULL, LOOP):  # the address family's number differs between systems; the version nibble does not
        return at + 4, ethertype_of_version(buffer, at + 4, end), 0
    return at, 0, 0


@inlined
def begin(packet, work):
    """Write what a packet is that nothing is known of."""
    packet.seq = packet.ack = packet.payload = packet.timestamp_value = packet.timestamp_echo = 0
    packet.pair = packet.conversation = -1
    packet.source_port = packet.destination_port = packet.flags = packet.window = packet.ip_id = packet.marks = 0
    packet.vlan = NO_VLAN
    packet.ip_version = packet.protocol = packet.ttl = packet.sack_blocks = 0
    packet.source_is_low = packet.segment_class = packet.retransmission_kind = 0
    work.hash = work.digest = 0
    work.transport = -1
    work.fragment_offset = work.more_fragments = work.has_pair = 0
    no_options(work)


@kernel
def dissect(buffer, frames, count, interfaces, packets, first, works):
    """Take `count` packets apart into `packets[first:]` and `works[0:]`, in order."""
    for i in range(count):
        packet = packets[first + i]
        work = works[i]
        begin(packet, work)
        interface = interfaces[frames.interface[i]]
        at = frames.offset[i]
        captured = frames.captured[i]
        end = at + captured
        original = frames.original[i]
        packet.t_ns = frames.t_ns[i]
        packet.capture = interface.capture
        packet.captured = captured
        packet.original = original
        if original > captured:
            packet.marks = SNAPPED
        at, ethertype, interface_number = link_header(buffer, at, end, interface.linktype)
        work.vantage = (interface.capture << 16) ^ interface_number
        while ethertype in (ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD) and at + 4 <= end:
            packet.vlan = big16(buffer, at) & 0x0FFF
            ethertype = big16(buffer, at + 2)
            at += 4
        wire_end = end + (original - captured)
        if ethertype == ETHERTYPE_IPV4:
            ipv4(buffer, at, end, wire_end, packet, work)
        elif ethertype == ETHERTYPE_IPV6:
            ipv6(buffer, at, end, wire_end, packet, work)
        if packet.ip_version:
            note_endpoints(buffer, packet, work)


@inlined
def malformed(packet):
    """Mark a packet whose headers contradict themselves."""
    packet.marks |= MALFORMED


@inlined
def cut_or_malformed(packet):
    """A header is not whole: the snap length's doing if the packet was cut, otherwise the packet's own."""
    if not packet.marks & SNAPPED:
        malformed(packet)


@inlined
def ipv4(buffer, at, end, wire_end, packet, work):
    """Read an IPv4 header (RFC 791 3.1) at `at`, then what it carries."""
    if at + 20 > end:
        cut_or_malformed(packet)
        return
    header = (buffer[at] & 0x0F) * 4
    total = big16(buffer, at + 2)
    if total == 0:  # a super-segment too long for the field (segmentation offload): trust the frame's length
        total = wire_end - at
    if buffer[at] >> 4 != 4 or header < 20 or total < header:
        malformed(packet)
        return
    if at + total > wire_end:  # cut, though the record does not say so
        packet.marks |= SNAPPED
    packet.ip_version = 4
    packet.protocol = buffer[at + 9]
    packet.ttl = buffer[at + 8]
    ip_id = big16(buffer, at + 4)
    packet.ip_id = ip_id
    work.source_high = 0
    work.source_low = big32(buffer, at + 12)
    work.destination_high = 0
    work.destination_low = big32(buffer, at + 16)
    place = big16(buffer, at + 6)
    if place & 0x3FFF:  # an offset, or more fragments
        packet.marks |= FRAGMENT
        work.fragment_id = ip_id
        work.fragment_offset = (place & 0x1FFF) * 8
        work.more_fragments = place >> 13 & 1
    stop = min(end, at + total)
    if ip_id:
        digest = big64(buffer, at + 2)  # length, identification, fragment's place, time to live, protocol
        work.digest = bytes_mixed(buffer, at + header, stop, digest)
    transport(buffer, at + header, stop, total - header, packet, work)


@inlined
def bytes_mixed(buffer, at, stop, digest):
    """Mix the first 24 and the last 8 bytes of what IP carries (header, checksum, tail) into `digest`."""
    taken = digest
    if at + 24 <= stop:
        taken ^= big64(buffer, at) * np.uint64(0x9FB21C651E98DF25)
        taken ^= big64(buffer, at + 8) * np.uint64(0xA0761D6478BD642F)
        taken ^= big64(buffer, at + 16) * np.uint64(0xE7037ED1A0B428DB)
    if at + 8 <= stop:
        taken ^= big64(buffer, stop - 8) * np.uint64(0x8EBC6AF09C88C6E3)
    return mixed(taken, digest)


@inlined
def ipv6(buffer, at, end, wire_end, packet, work):
    """Read an IPv6 header (RFC 8200 3) at `at` and its extension headers, then what it carries."""
    if at + 40 > end:
        cut_or_malformed(packet)
        return
    total = big16(buffer, at + 4)
    if total == 0:  # a jumbogram or a super-segment: trust the frame's length
        total = wire_end - at - 40
    if buffer[at] >> 4 != 6:
        malformed(packet)
        return
    if at + 40 + total > wire_end:  # cut, though the record does not say so
        packet.marks |= SNAPPED
    packet.ip_version = 6
    packet.ttl = buffer[at + 7]
    work.source_high = big64(buffer, at + 8)
    work.source_low = big64(buffer, at + 16)
    work.destination_high = big64(buffer, at + 24)
    work.destination_low = big64(buffer, at + 32)
    protocol = np.int64(buffer[at + 6])
    at += 40
    stop = min(end, at + total)
    for _ in range(MOST_EXTENSION_HEADERS):
        if protocol not in (HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, FRAGMENT_HEADER, AUTHENTICATION):
            break
        packet.protocol = protocol
        if work.fragment_offset:
            break  # what follows in a later fragment is content
        if at + 8 > stop:
            cut_or_malformed(packet)
            return
        following = np.int64(buffer[at])
        if protocol == FRAGMENT_HEADER:
            packet.marks |= FRAGMENT
            work.fragment_id = big32(buffer, at + 4)
            work.fragment_offset = big16(buffer, at + 2) & 0xFFF8
            work.more_fragments = buffer[at + 3] & 1
            size = 8
        elif protocol == AUTHENTICATION:
            size = (np.int64(buffer[at + 1]) + 2) * 4
        else:
            size = (np.int64(buffer[at + 1]) + 1) * 8
        if size > total:
            malformed(packet)
            return
        at += size
        total -= size
        protocol = following
    packet.protocol = protocol
    transport(buffer, at, stop, total, packet, work)


@inlined
def transport(buffer, at, stop, length, packet, work):
    """Read what stands above IP: `length` bytes on the wire, captured up to `stop`."""
    protocol = packet.protocol
    work.transport_end = stop
    work.transport_length = length
    packet.payload = length
    if work.fragment_offset:
        return
    if protocol == TCP:
        tcp(buffer, at, stop, length, packet, work)
    elif protocol == UDP:
        if at + 8 > stop or length < 8:
            cut_or_malformed(packet)
            return
        work.transport = at
        packet.source_port = big16(buffer, at)
        packet.destination_port = big16(buffer, at + 2)
        packet.payload = length - 8
    elif protocol in (ICMP, ICMP6):
        if at + 8 > stop or length < 8:
            cut_or_malformed(packet)
            return
        work.transport = at
        packet.payload = length - 8
        # Type and code stand where another protocol has its ports, as in other flow tables; echo and its reply share
        # one conversation by their identifier, which `endpoints` looks up.
        packet.source_port = buffer[at]
        packet.destination_port = buffer[at + 1]


@inlined
def tcp(buffer, at, stop, length, packet, work):
    """Read a TCP header (RFC 9293 3.1)."""
    if at + 20 > stop:
        cut_or_malformed(packet)
        return
    header = (buffer[at + 12] >> 4) * 4
    if header < 20 or header > length:
        malformed(packet)
        return
    packet.source_port = big16(buffer, at)
    packet.destination_port = big16(buffer, at + 2)
    packet.seq = big32(buffer, at + 4)
    packet.ack = big32(buffer, at + 8)
    packet.flags = big16(buffer, at + 12) & 0x01FF
    packet.window = big16(buffer, at + 14)
    packet.payload = length - header
    work.transport = at
    if header == 20 or at + header > stop:
        return
    place = at + 20
    if header == 32 and big32(buffer, place) == NOP_NOP_TIMESTAMPS and not packet.flags & SYN:
        packet.timestamp_value = big32(buffer, place + 4)
        packet.timestamp_echo = big32(buffer, place + 8)
    else:
        read_options(buffer, place, at + header, packet, work)
