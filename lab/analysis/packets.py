"""Taking packets apart: from the link's header through IP to TCP, UDP and ICMP, into `columns.PacketColumns`.

Link layers: Ethernet, VLAN tags (802.1Q, 802.1ad, stacked), Linux cooked captures (SLL, SLL2), raw IP, null and loopback.
IPv4, and IPv6 with its extension headers; fragments. A packet cut by the snap length yields what its bytes still say;
its payload's length comes from the IP header. Nothing is trusted: every read is checked against the captured bytes first,
and a header that contradicts itself marks its packet `malformed` and takes no further part.
"""

from __future__ import annotations

import numpy as np

from lab.analysis.columns import big16, big32, big64, mixed
from lab.analysis.compiled import kernel
from lab.analysis.words import FRAGMENT, ICMP, ICMP6, MALFORMED, SNAPPED, TCP, UDP

# LINKTYPE_ numbers (https://www.tcpdump.org/linktypes.html).
NULL, ETHERNET, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
RAW_OF_OLD = (12, 14)  # what DLT_RAW is called in some files

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD = 0x8100, 0x88A8, 0x9100
NO_VLAN = 0xFFFF

HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 51, 60, 135
MOST_EXTENSION_HEADERS = 16

OPTION_END, OPTION_NOP, OPTION_SACK, OPTION_TIMESTAMPS = 0, 1, 5, 8


@kernel
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


@kernel
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


@kernel
def dissect(buffer, frames, count, interfaces, packets, first, scratch):
    """Take `count` packets apart into `packets[first:]` and `scratch[0:]`, in order."""
    for i in range(count):
        row = first + i
        interface = interfaces[frames.interface[i]]
        at = frames.offset[i]
        captured = frames.captured[i]
        end = at + captured
        original = frames.original[i]
        packets.t_ns[row] = frames.t_ns[i]
        packets.capture[row] = interface.capture
        packets.captured[row] = captured
        packets.original[row] = original
        packets.vlan[row] = NO_VLAN
        packets.marks[row] = SNAPPED if original > captured else 0
        packets.ip_version[row] = 0
        packets.protocol[row] = 0
        packets.source_port[row] = 0
        packets.destination_port[row] = 0
        packets.flags[row] = 0
        packets.seq[row] = 0
        packets.ack[row] = 0
        packets.window[row] = 0
        packets.payload[row] = 0
        packets.ip_id[row] = 0
        packets.ttl[row] = 0
        packets.timestamp_value[row] = 0
        packets.timestamp_echo[row] = 0
        packets.sack_blocks[row] = 0
        packets.source_is_low[row] = 0
        packets.pair[row] = -1
        packets.conversation[row] = -1
        packets.segment_class[row] = 0
        packets.retransmission_kind[row] = 0
        scratch.transport[i] = -1
        scratch.fragment_offset[i] = 0
        scratch.more_fragments[i] = 0
        scratch.fragment_id[i] = -1
        scratch.digest[i] = 0

        at, ethertype, interface_number = link_header(buffer, at, end, interface.linktype)
        scratch.vantage[i] = (interface.capture << 16) ^ interface_number
        while ethertype in (ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD) and at + 4 <= end:
            packets.vlan[row] = big16(buffer, at) & 0x0FFF
            ethertype = big16(buffer, at + 2)
            at += 4
        wire_end = end + (original - captured)
        if ethertype == ETHERTYPE_IPV4:
            ipv4(buffer, at, end, wire_end, packets, row, scratch, i)
        elif ethertype == ETHERTYPE_IPV6:
            ipv6(buffer, at, end, wire_end, packets, row, scratch, i)


@kernel
def malformed(packets, row):
    """Mark a packet whose headers contradict themselves."""
    packets.marks[row] |= MALFORMED


@kernel
def cut_or_malformed(packets, row):
    """A header is not whole: the snap length's doing if the packet was cut, otherwise the packet's own."""
    if not packets.marks[row] & SNAPPED:
        malformed(packets, row)


@kernel
def ipv4(buffer, at, end, wire_end, packets, row, scratch, i):
    """Read an IPv4 header (RFC 791 3.1) at `at`, then what it carries."""
    if at + 20 > end:
        cut_or_malformed(packets, row)
        return
    header = (buffer[at] & 0x0F) * 4
    total = big16(buffer, at + 2)
    if total == 0:  # a super-segment too long for the field (segmentation offload): trust the frame's length
        total = wire_end - at
    if buffer[at] >> 4 != 4 or header < 20 or total < header:
        malformed(packets, row)
        return
    if at + total > wire_end:  # cut, though the record does not say so
        packets.marks[row] |= SNAPPED
    packets.ip_version[row] = 4
    packets.protocol[row] = buffer[at + 9]
    packets.ttl[row] = buffer[at + 8]
    ip_id = big16(buffer, at + 4)
    packets.ip_id[row] = ip_id
    scratch.source_high[i] = 0
    scratch.source_low[i] = big32(buffer, at + 12)
    scratch.destination_high[i] = 0
    scratch.destination_low[i] = big32(buffer, at + 16)
    place = big16(buffer, at + 6)
    if place & 0x3FFF:  # an offset, or more fragments
        packets.marks[row] |= FRAGMENT
        scratch.fragment_id[i] = ip_id
        scratch.fragment_offset[i] = (place & 0x1FFF) * 8
        scratch.more_fragments[i] = place >> 13 & 1
    stop = min(end, at + total)
    if ip_id:
        digest = mixed(np.uint64(ip_id) << np.uint64(32) | np.uint64(big32(buffer, at + 6)), np.uint64(total))
        scratch.digest[i] = bytes_mixed(buffer, at + header, stop, digest)
    transport(buffer, at + header, stop, total - header, packets, row, scratch, i)


@kernel
def bytes_mixed(buffer, at, stop, digest):
    """Mix the first 24 and the last 8 bytes of a packet's content (its headers, its checksum, its tail) into `digest`."""
    for step in range(3):
        place = at + 8 * step
        if place + 8 <= stop:
            digest = mixed(digest, big64(buffer, place))
    if stop - at > 8:
        digest = mixed(digest, big64(buffer, stop - 8))
    return digest


@kernel
def ipv6(buffer, at, end, wire_end, packets, row, scratch, i):
    """Read an IPv6 header (RFC 8200 3) at `at` and its extension headers, then what it carries."""
    if at + 40 > end:
        cut_or_malformed(packets, row)
        return
    total = big16(buffer, at + 4)
    if total == 0:  # a jumbogram or a super-segment: trust the frame's length
        total = wire_end - at - 40
    if buffer[at] >> 4 != 6:
        malformed(packets, row)
        return
    if at + 40 + total > wire_end:  # cut, though the record does not say so
        packets.marks[row] |= SNAPPED
    packets.ip_version[row] = 6
    packets.ttl[row] = buffer[at + 7]
    scratch.source_high[i] = big64(buffer, at + 8)
    scratch.source_low[i] = big64(buffer, at + 16)
    scratch.destination_high[i] = big64(buffer, at + 24)
    scratch.destination_low[i] = big64(buffer, at + 32)
    protocol = np.int64(buffer[at + 6])
    at += 40
    stop = min(end, at + total)
    for _ in range(MOST_EXTENSION_HEADERS):
        if protocol not in (HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, FRAGMENT_HEADER, AUTHENTICATION):
            break
        packets.protocol[row] = protocol
        if scratch.fragment_offset[i]:
            break  # what follows in a later fragment is content
        if at + 8 > stop:
            cut_or_malformed(packets, row)
            return
        following = np.int64(buffer[at])
        if protocol == FRAGMENT_HEADER:
            packets.marks[row] |= FRAGMENT
            scratch.fragment_id[i] = big32(buffer, at + 4)
            scratch.fragment_offset[i] = big16(buffer, at + 2) & 0xFFF8
            scratch.more_fragments[i] = buffer[at + 3] & 1
            size = 8
        elif protocol == AUTHENTICATION:
            size = (np.int64(buffer[at + 1]) + 2) * 4
        else:
            size = (np.int64(buffer[at + 1]) + 1) * 8
        if size > total:
            malformed(packets, row)
            return
        at += size
        total -= size
        protocol = following
    packets.protocol[row] = protocol
    transport(buffer, at, stop, total, packets, row, scratch, i)


@kernel
def transport(buffer, at, stop, length, packets, row, scratch, i):
    """Read what stands above IP: `length` bytes on the wire, captured up to `stop`."""
    protocol = packets.protocol[row]
    scratch.transport_end[i] = stop
    scratch.transport_length[i] = length
    packets.payload[row] = length
    if scratch.fragment_offset[i]:
        return
    if protocol == TCP:
        tcp(buffer, at, stop, length, packets, row, scratch, i)
    elif protocol == UDP:
        if at + 8 > stop or length < 8:
            cut_or_malformed(packets, row)
            return
        scratch.transport[i] = at
        packets.source_port[row] = big16(buffer, at)
        packets.destination_port[row] = big16(buffer, at + 2)
        packets.payload[row] = length - 8
    elif protocol in (ICMP, ICMP6):
        if at + 8 > stop or length < 8:
            cut_or_malformed(packets, row)
            return
        scratch.transport[i] = at
        packets.payload[row] = length - 8
        # Type and code stand where another protocol has its ports, as in other flow tables; echo and its reply share
        # one conversation by their identifier, which `endpoints` looks up.
        packets.source_port[row] = buffer[at]
        packets.destination_port[row] = buffer[at + 1]


@kernel
def tcp(buffer, at, stop, length, packets, row, scratch, i):
    """Read a TCP header (RFC 9293 3.1)."""
    if at + 20 > stop:
        cut_or_malformed(packets, row)
        return
    header = (buffer[at + 12] >> 4) * 4
    if header < 20 or header > length:
        malformed(packets, row)
        return
    packets.source_port[row] = big16(buffer, at)
    packets.destination_port[row] = big16(buffer, at + 2)
    packets.seq[row] = big32(buffer, at + 4)
    packets.ack[row] = big32(buffer, at + 8)
    packets.flags[row] = big16(buffer, at + 12) & 0x01FF
    packets.window[row] = big16(buffer, at + 14)
    packets.payload[row] = length - header
    scratch.transport[i] = at
    if header >= 32 and at + header <= stop:
        place = at + 20
        if big32(buffer, place) == 0x0101080A:  # NOP NOP timestamps: what nearly every segment carries
            packets.timestamp_value[row] = big32(buffer, place + 4)
            packets.timestamp_echo[row] = big32(buffer, place + 8)
            if header == 32:
                return
        slow_options(buffer, place, at + header, packets, row)


@kernel
def slow_options(buffer, at, stop, packets, row):
    """Walk options one by one for timestamps and the number of SACK blocks (RFC 7323 3.2, RFC 2018 3)."""
    while at + 1 < stop and buffer[at] != OPTION_END:
        if buffer[at] == OPTION_NOP:
            at += 1
            continue
        size = np.int64(buffer[at + 1])
        if size < 2 or at + size > stop:
            return
        if buffer[at] == OPTION_TIMESTAMPS and size == 10:
            packets.timestamp_value[row] = big32(buffer, at + 2)
            packets.timestamp_echo[row] = big32(buffer, at + 6)
        elif buffer[at] == OPTION_SACK and size >= 10:
            packets.sack_blocks[row] = (size - 2) // 8
        at += size
