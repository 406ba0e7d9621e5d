"""Packets as a list: what each is, in a line, and from whom to whom."""

from __future__ import annotations

import pytest

from lab.analysis import analyze
from lab.report.packet_list import lines, with_frames
from tests.analysis.test_corpus import CASES, input_of

BY_NAME = {case.name: case for case in CASES}


def listed(case: str, names: dict[str, str] | None = None, *, width: int = 100) -> list[str]:
    analysis = analyze([input_of(BY_NAME[case])])
    return list(lines(with_frames(analysis.packets(), analysis.frames), names or {}, width=width))


@pytest.mark.parametrize(
    ("case", "number", "told"),
    [
        ("arp", 0, "ARP who has 10.0.0.2? tell 10.0.0.1"),
        ("arp", 1, "ARP 10.0.0.2 is at 02:00:00:00:00:02"),
        ("arp", 2, "UDP 40000 > 9000 len 5"),
        ("arp", 5, "not IP"),
        ("arp", 6, "EtherType 0x8035"),
        ("handshake-complete", 0, "TCP 40000 > 80 SYN seq 0 len 0"),
        ("handshake-complete", 1, "TCP 80 > 40000 SYN-ACK seq 0 ack 1 len 0"),
        ("fragments", 3, "TCP fragment 0x02bc: bytes 0 to 1399, more follow"),
        ("fragments", 5, "TCP fragment 0x02bc: bytes 2800 to 3019, the last"),
        ("udp-port-unreachable", 1, "ICMP port unreachable"),
        ("ping", 0, "ICMP echo request"),
        ("link-raw-ip", 0, "TCP 40000 > 80 SYN seq 0 len 0"),
    ],
)
def test_a_packet_is_told_in_a_line(case: str, number: int, told: str) -> None:
    line = listed(case)[number + 1]
    assert line.split()[0] == str(number)
    assert told in line


def test_addresses_have_their_hosts_names_and_a_broadcast_is_for_everybody() -> None:
    names = {"02:00:00:00:00:01": "client", "10.0.0.2": "server", "10.0.0.1": "client"}
    question, _answer, datagram = listed("arp", names)[1:4]
    assert question.split()[2:4] == ["client", "everybody"]
    assert "who has 10.0.0.2 (server)?" in question
    assert datagram.split()[2:4] == ["client", "server"]


def test_what_is_too_long_for_the_terminal_is_cut_and_the_columns_stay() -> None:
    drawn = listed("fragments", width=70)
    assert max(map(len, drawn)) <= 70
    assert any("…" in line for line in drawn)


def test_no_packet_is_no_line() -> None:
    assert list(lines([], {}, width=80)) == []
