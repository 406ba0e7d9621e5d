"""Frames: what stands in the Ethernet header of each, how its layers add up, and what ARP asks and answers.

An Ethernet frame (IEEE 802.3) begins with where it goes, where it comes from, and what it carries:

    0            6            12        14
    destination  source       EtherType what it carries: IPv4 (0x0800), ARP (0x0806), IPv6 (0x86dd), ...

A tag (802.1Q) before the EtherType adds 4 bytes. The lowest bit of the first byte of an address makes it a group's
(multicast); all ones is everybody (broadcast). These addresses say who is meant on this one segment: each router makes
a new frame, and they change, while the IP addresses inside stay.

ARP (RFC 826) finds the Ethernet address behind an IPv4 address: a request to everybody, "who has 10.0.0.2? tell
10.0.0.1", and an answer to the one who asked. It is no IP packet: for the table `packets` such a frame is just a frame.

The table is made by a second reading of the file, vectorised, of captures up to `MOST_FRAMES`: lessons about frames are
short. A capture of millions is about connections; there nobody pays for it, and there is no such table.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis import tables
from lab.analysis.capture_file import Batch, CaptureReader
from lab.analysis.cells import Mask, coded, where
from lab.analysis.packets import (
    ETHERNET,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_QINQ,
    ETHERTYPE_QINQ_OLD,
    ETHERTYPE_VLAN,
)
from lab.analysis.words import ICMP, ICMP6, TCP, UDP
from lab.errors import CaptureFileBroken

MOST_FRAMES = 50_000
ETHERTYPE_ARP = 0x0806
SMALLEST_ETHERTYPE = 0x0600  # below, the field is a length (IEEE 802.3), and what the frame carries stands elsewhere
ETHERNET_BYTES, TAG_BYTES, ARP_BYTES = 14, 4, 28
HEAD_BYTES = 14 + 2 * TAG_BYTES + 60 + 20
"""What is looked at of each frame: two tags, the longest IPv4 header, a TCP header without options."""

CASTS = ("unicast", "multicast", "broadcast")
ARP_OPERATIONS = ("", "request", "reply")

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def read_frames(paths: Sequence[Path]) -> pl.DataFrame:
    """Return one row an Ethernet frame, numbered like the packets of the same files. What is broken ends a file."""
    parts = [pl.DataFrame(schema=tables.schema(tables.FRAMES))]
    index = interfaces = 0
    for path in paths:
        reader = CaptureReader(path)
        try:
            for batch in reader.batches():
                parts.append(_rows(batch, reader.interface_table["linktype"], index, interfaces))
                index += batch.count
        except CaptureFileBroken:
            interfaces += not reader.interfaces  # such a file has one row in `captures` all the same
        interfaces += len(reader.interfaces)
    return pl.concat(parts)


def _rows(batch: Batch, linktypes: Numbers, index: int, first_interface: int) -> pl.DataFrame:
    """The rows of one batch, whose first frame has this index."""
    count = batch.count
    frames = batch.frames
    captured, original = frames.captured[:count], frames.original[:count]
    head = _Head(batch.buffer, frames.offset[:count], captured)
    ethernet = (linktypes[frames.interface[:count]] == ETHERNET) & (captured >= ETHERNET_BYTES)
    link, ethertype = _link(head)
    arp = (
        (ethertype == ETHERTYPE_ARP)
        & (head.at(link, 4) == 0x0001_0800)  # Ethernet and IPv4
        & (captured >= link + ARP_BYTES)
    )
    layers = _layers(head, link, ethertype, captured, original)
    group = head.bytes[:, 0] & 1 > 0
    cast = np.where(head.at(0, 6) == 0xFFFF_FFFF_FFFF, 2, group.astype(np.int64))
    operation = np.where(arp & (head.at(link + 6, 2) <= 2), head.at(link + 6, 2), 0)
    columns = {
        "index": pl.Series(np.arange(index, index + count, dtype=np.uint64)),
        "t_ns": pl.Series(frames.t_ns[:count].copy()),
        "interface": pl.Series(frames.interface[:count] + first_interface),
        "original_bytes": pl.Series(original.copy()),
        "src_mac": _texts(head.at(6, 6), None, _mac),
        "dst_mac": _texts(head.at(0, 6), None, _mac),
        "cast": coded(cast.astype(np.uint8), CASTS).series(),
        "ethertype": where(ethertype >= SMALLEST_ETHERTYPE, ethertype).series(),
        "link_header_bytes": pl.Series(link),
        **layers,
        "arp_operation": coded(operation.astype(np.uint8), ARP_OPERATIONS).series(),
        "arp_sender_mac": _texts(head.at(link + 8, 6), arp, _mac),
        "arp_sender_addr": _texts(head.at(link + 14, 4), arp, _address),
        "arp_target_mac": _texts(head.at(link + 18, 6), arp & (head.at(link + 18, 6) > 0), _mac),
        "arp_target_addr": _texts(head.at(link + 24, 4), arp, _address),
    }
    kinds = tables.schema(tables.FRAMES)
    return pl.DataFrame({name: columns[name].cast(kind) for name, kind in kinds.items()}).filter(pl.Series(ethernet))


class _Head:
    """The first bytes of every frame of a batch, as one matrix; what was not captured is 0."""

    def __init__(self, buffer: Bytes, offset: Numbers, captured: Numbers) -> None:
        places = np.arange(HEAD_BYTES)
        self.bytes = buffer[np.minimum(offset[:, None] + places, buffer.size - 1)]
        self.bytes[places >= captured[:, None]] = 0
        self._rows = np.arange(offset.size)

    def at(self, place: Numbers | int, size: int) -> Numbers:
        """The big-endian number of `size` bytes at a place of each frame's own."""
        value = np.zeros(self._rows.size, np.int64)
        for step in range(size):
            value = value << 8 | self.bytes[self._rows, np.minimum(place + step, HEAD_BYTES - 1)]
        return value


def _link(head: _Head) -> tuple[Numbers, Numbers]:
    """Return the size of each frame's Ethernet header, with its tags, and its EtherType."""
    size = np.full(head.bytes.shape[0], ETHERNET_BYTES)
    ethertype = head.at(12, 2)
    for _ in range(2):
        tagged = np.isin(ethertype, (ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD))
        size = np.where(tagged, size + TAG_BYTES, size)
        ethertype = np.where(tagged, head.at(size - 2, 2), ethertype)
    return size, ethertype


def _layers(
    head: _Head, link: Numbers, ethertype: Numbers, captured: Numbers, original: Numbers
) -> dict[str, pl.Series]:
    """Say how the frame's bytes are shared out, and which part of a datagram it carries.

    link header + IP header + transport header + data + trailer = the frame, as far as these headers are known.
    """
    v4 = (ethertype == ETHERTYPE_IPV4) & (captured >= link + 20) & (head.at(link, 1) >> 4 == 4)
    v6 = (ethertype == ETHERTYPE_IPV6) & (captured >= link + 40) & (head.at(link, 1) >> 4 == 6)
    ip = v4 | v6
    ip_header = np.where(v4, (head.at(link, 1) & 15) * 4, np.where(v6, 40, 0))
    total = np.where(v4, head.at(link + 2, 2), head.at(link + 4, 2) + 40)
    # 0: a super-segment too long for the field. And no packet is longer than its frame.
    total = np.where(ip & (total > 0), np.minimum(total, original - link), original - link)
    place = np.where(v4, head.at(link + 6, 2), 0)
    offset = (place & 0x1FFF) * 8
    protocol = np.where(v4, head.at(link + 9, 1), np.where(v6, head.at(link + 6, 1), -1))
    above = link + ip_header
    first = ip & (offset == 0)
    tcp = first & (protocol == TCP) & (captured >= above + 20)
    eight = first & np.isin(protocol, (UDP, ICMP, ICMP6)) & (captured >= above + 8)
    transport = np.where(tcp, (head.at(above + 12, 1) >> 4) * 4, np.where(eight, 8, 0))
    arp = ethertype == ETHERTYPE_ARP
    data = np.where(arp, ARP_BYTES, total - ip_header - transport)
    return {
        "ip_header_bytes": where(ip, ip_header).series(),
        "transport_header_bytes": where(tcp | eight, transport).series(),
        "data_bytes": pl.Series(np.maximum(data, 0)),
        "trailer_bytes": pl.Series(np.maximum(original - link - ip_header - transport - data, 0)),
        "dont_fragment": where(v4, place & 0x4000 > 0).series(),
        "more_fragments": where(v4, place & 0x2000 > 0).series(),
        "fragment_offset": where(v4, offset).series(),
    }


def _texts(values: Numbers, known: Mask | None, text: Callable[[int], str]) -> pl.Series:
    """Make a column of texts of numbers, each written once; null where it is not known."""
    distinct, rows = np.unique(values, return_inverse=True)
    texts = pl.Series([text(value) for value in distinct.tolist()], dtype=pl.String).gather(pl.Series(rows))
    return texts if known is None else pl.select(pl.when(pl.Series(known)).then(texts)).to_series()


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def _address(value: int) -> str:
    return socket.inet_ntoa(struct.pack("!I", value))
