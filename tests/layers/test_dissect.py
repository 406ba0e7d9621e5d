"""Packets taken apart: every byte belongs to one layer, every field is read from where it is said to stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet as Made

from lab.analysis.capture_file import Interface, RawPacket, raw_packets
from lab.errors import CaptureFileBroken
from lab.layers import Context, Field, Layer, Packet
from lab.layers.dissect import dissect
from tests.analysis.test_corpus import CASES, input_of

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"
REQUEST = b"GET /index.html HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\n\r\nhello"


def raw(made: Made | bytes, *, original: int | None = None) -> RawPacket:
    data = bytes(made)
    size = len(data) if original is None else original
    return RawPacket(index=0, t_ns=0, data=data, original_bytes=size, interface=Interface(linktype=1, snaplen=0))


def apart(made: Made | bytes, **context: object) -> Packet:
    return dissect(raw(made), Context(**context))  # type: ignore[arg-type]


def field(packet: Packet, layer: str, name: str) -> Field:
    (found,) = [f for one in packet.layers if one.name == layer for f in one.fields if f.name == name]
    return found


def segment(data: bytes, **fields: object) -> Made:
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=7, flags="DF")
    return Ether(src=A, dst=B) / ip / TCP(sport=40_000, dport=80, flags="PA", **fields) / data


def sizes(packet: Packet) -> list[tuple[str, int]]:
    return [(layer.name, layer.size) for layer in packet.layers]


def test_a_request_is_ethernet_ip_tcp_http_and_its_body() -> None:
    packet = apart(segment(REQUEST, options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]))
    assert sizes(packet) == [("Ethernet", 14), ("IPv4", 20), ("TCP", 32), ("HTTP", len(REQUEST) - 5), ("body", 5)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_layers_of_every_packet_of_the_corpus_are_the_packet(case: Path) -> None:
    def whole(layer: Layer) -> bool:
        return sum(f.bits for f in layer.fields) == 8 * layer.size

    try:
        for one in raw_packets(input_of(case)):
            packet = dissect(one, Context())
            assert sum(layer.size for layer in packet.layers) == one.original_bytes
            known = [layer for layer in packet.layers if layer.header and not layer.name.startswith("quoted")]
            assert all(whole(layer) for layer in known)
    except CaptureFileBroken:
        assert case.name


@pytest.mark.parametrize(
    ("layer", "name", "place", "size", "value"),
    [
        ("Ethernet", "destination", "0-5", "6 bytes", B),
        ("Ethernet", "type", "12-13", "2 bytes", "0x0800"),
        ("IPv4", "version", "14.0", "4 bits", "4"),
        ("IPv4", "header length", "14.4", "4 bits", "5"),
        ("IPv4", "flags", "20.0", "3 bits", "DF"),
        ("IPv4", "fragment offset", "20.3", "13 bits", "0"),
        ("IPv4", "time to live", "22", "1 byte", "64"),
        ("IPv4", "destination", "30-33", "4 bytes", "10.0.0.2"),
        ("TCP", "destination port", "36-37", "2 bytes", "80"),
        ("TCP", "option: maximum segment size", "54-57", "4 bytes", "1460"),
        ("HTTP", "request line", "58-83", "26 bytes", "GET /index.html HTTP/1.1"),
        ("HTTP", "Host", "84-97", "14 bytes", "server"),
    ],
)
def test_a_field_stands_where_its_header_has_it(layer: str, name: str, place: str, size: str, value: str) -> None:
    found = field(apart(segment(REQUEST, options=[("MSS", 1460)])), layer, name)
    assert (found.place, found.size, found.value) == (place, size, value)


def test_a_checksum_is_checked_and_a_wrong_one_told_with_what_it_should_be() -> None:
    good = bytes(segment(b"hello"))
    assert field(apart(good), "TCP", "checksum").meaning.endswith("right")
    bad = good[:50] + b"\x12\x34" + good[52:]
    said = field(apart(bad), "TCP", "checksum").meaning
    assert f"0x{good[50]:02x}{good[51]:02x}" in said
    assert "wrong" in said


def test_what_was_not_captured_cannot_be_checked_and_is_a_part_of_its_own() -> None:
    whole = bytes(segment(b"x" * 100))
    packet = dissect(raw(whole[:60], original=len(whole)), Context())
    assert sizes(packet)[-1] == ("not captured", 94)
    assert "cannot be checked" in field(packet, "TCP", "checksum").meaning


def test_a_later_fragment_carries_data_of_no_header() -> None:
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=7, frag=185, proto=17)
    packet = apart(Ether(src=A, dst=B) / ip / (b"x" * 100))
    assert sizes(packet) == [("Ethernet", 14), ("IPv4", 20), ("data", 100)]
    assert "begin at byte 1480" in field(packet, "IPv4", "fragment offset").meaning


def test_names_stand_beside_addresses_and_a_question_says_what_is_not_known() -> None:
    question = Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2")
    packet = apart(question, names={A: "client", "10.0.0.2": "server"})
    assert field(packet, "Ethernet", "destination").meaning.startswith("everybody")
    assert field(packet, "Ethernet", "source").meaning == "client"
    assert field(packet, "ARP", "target's IP address").meaning == "server"
    assert field(packet, "ARP", "target's Ethernet address").meaning == "not known: this is what is asked"
    assert field(packet, "ARP", "operation").meaning == "request: who has 10.0.0.2?"


def test_numbers_are_told_as_the_analysis_knows_them() -> None:
    row = {"relative_seq": 1, "relative_ack": 6, "payload_bytes": 5, "window": 65_536}
    packet = apart(segment(b"hello", window=64), row=row)
    assert field(packet, "TCP", "sequence number").meaning.endswith("its data are bytes 1 to 5")
    assert field(packet, "TCP", "acknowledgement").meaning.startswith("6 from")
    assert field(packet, "TCP", "window").meaning.startswith("times 1024: 65,536 bytes")


def test_padding_and_a_tag_have_their_bytes() -> None:
    datagram = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"hi"
    packet = apart(bytes(Ether(src=A, dst=B) / Dot1Q(vlan=5) / datagram) + bytes(12))
    assert sizes(packet) == [("Ethernet", 14), ("VLAN tag", 4), ("IPv4", 20), ("UDP", 8), ("data", 2), ("trailer", 12)]


@pytest.mark.parametrize(
    ("options", "last"),
    [
        (b"\x03\x03\x07\x00", "option: end"),
        (b"\x02\x00\x01\x01", "options"),
        (b"\x1e\x03\x00\x01", "option: nothing"),
        (b"\x05\x0a\x00\x00\x00\x01\x00\x00\x00\x02\x01\x01", "option: nothing"),
    ],
)
def test_options_are_told_one_by_one_whatever_they_are(options: bytes, last: str) -> None:
    header = bytes(TCP(sport=1, dport=2, dataofs=5 + len(options) // 4))[:20] + options
    packet = apart(Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / header)
    (tcp,) = [layer for layer in packet.layers if layer.name == "TCP"]
    assert tcp.fields[-1].name == last
    assert sum(f.bits for f in tcp.fields) == 8 * tcp.size


def test_data_are_shown_as_text_with_dots_and_cut_where_they_are_long() -> None:
    assert field(apart(segment(b"\x00\x00\x00\x044.20")), "data", "data").value == "....4.20"
    assert field(apart(segment(b"x" * 100)), "data", "data").value == "x" * 48 + "..."


def test_a_frame_shorter_than_its_header_is_data() -> None:
    assert sizes(apart(b"\x02\x00")) == [("data", 2)]
