"""What a capture file says of its packets and of itself, to other people's tools: streamed, or made after the stop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from captures import SEND_FRAME, TRAFFIC, capturing, echo_server, fields, needs_tshark, tool
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import rdpcap
from two_hosts import Host

from lab.inside.machine_code import SWITCH


@pytest.fixture(autouse=True, params=["streamed", "made after the stop"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the file: with machine code, and without."""
    if request.param == "streamed":
        request.getfixturevalue("machine_code_made")
    monkeypatch.setenv(SWITCH, "on" if request.param == "streamed" else "off")
    return str(request.param)


@needs_tshark
def test_packets_are_cut_at_the_snaplen_and_keep_their_length(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    arguments = ("--interface", "eth0", "--filter", "tcp port 9004", "--snaplen", "96")
    with capturing(server, tmp_path, *arguments) as capture:
        with echo_server(server, 9004):
            client.run(sys.executable, TRAFFIC, "bulk", server.address, "9004", "20000")
        capture.stop()
    lengths = [(int(a), int(b)) for a, b in fields(tmp_path / "capture.pcapng", "frame.cap_len", "frame.len")]
    assert all(captured == min(96, length) for captured, length in lengths)
    assert max(length for _, length in lengths) == 1514
    assert "Capture length = 96" in tool("capinfos", str(tmp_path / "capture.pcapng"))


@needs_tshark
def test_capinfos_reads_the_interface_its_filter_and_nanoseconds(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "icmp or udp port 9005") as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9005", "7")
        written = capture.stop()["interfaces"]["eth0"]["written"]
    told = {line.strip() for line in tool("capinfos", "-M", str(tmp_path / "capture.pcapng")).splitlines()}
    assert {
        "Name = eth0",
        "Filter string = icmp or udp port 9005",
        "Time precision = nanoseconds (9)",
        "Number of stat entries = 1",
        f"Number of packets = {written}",
        "Capture application: wirelab capture",
    } <= told


@needs_tshark
def test_a_recording_without_packets_is_a_valid_empty_file(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with capturing(hosts[0], tmp_path, "--interface", "eth0", "--filter", "tcp port 1") as capture:
        result = capture.stop()
    assert result["interfaces"]["eth0"]["written"] == 0
    assert result["interfaces"]["eth0"]["first_ns"] is None
    assert fields(tmp_path / "capture.pcapng", "frame.number") == []
    assert "Number of packets = 0" in tool("capinfos", "-M", str(tmp_path / "capture.pcapng"))


@needs_tshark
def test_the_cap_keeps_the_beginning_and_says_so(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    arguments = ("--interface", "eth0", "--filter", "udp dst port 9006", "--max-bytes", "20000")
    with capturing(server, tmp_path, *arguments) as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9006", "1000")
        result = capture.stop()
    eth0 = result["interfaces"]["eth0"]
    assert result["truncated_by_cap"] is True
    assert eth0["received"] == 1000
    assert 0 < eth0["written"] < 1000
    assert 19_000 < (tmp_path / "capture.pcapng").stat().st_size <= 20_000
    numbers = [int(payload[:8], 16) for (payload,) in fields(tmp_path / "capture.pcapng", "udp.payload")]
    assert numbers == list(range(eth0["written"]))


@needs_tshark
def test_loopback_shows_each_packet_once_and_two_interfaces_share_a_file(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    server, client = hosts
    arguments = ("--interface", "eth0", "--interface", "lo", "--filter", "udp dst port 9008")
    with capturing(server, tmp_path, *arguments) as capture:
        for _ in range(2):
            server.run(sys.executable, TRAFFIC, "datagrams", "127.0.0.1", "9008", "5")
            client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9008", "3")
        result = capture.stop()
    assert {name: i["written"] for name, i in result["interfaces"].items()} == {"eth0": 6, "lo": 10}
    packets = fields(tmp_path / "capture.pcapng", "frame.interface_name", "frame.time_epoch")
    assert [name for name, _ in packets] == (["lo"] * 5 + ["eth0"] * 3) * 2
    assert [time for _, time in packets] == sorted(time for _, time in packets)


@needs_tshark
def test_a_vlan_tag_taken_off_by_the_kernel_stands_in_the_file(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    datagram = IP(src=client.address, dst=server.address) / UDP(sport=1, dport=9009) / Raw(b"tagged")
    frame = bytes(Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=7, prio=5) / datagram)
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "udp dst port 9009") as capture:
        client.python(SEND_FRAME, frame.hex())
        capture.stop()
    path = tmp_path / "capture.pcapng"
    assert fields(path, "vlan.id", "vlan.priority", "frame.len") == [["7", "5", str(len(frame))]]
    assert bytes(rdpcap(str(path))[0]) == frame


@needs_tshark
def test_a_vlan_tag_put_back_does_not_exceed_the_snaplen(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    frame = bytes(
        Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=7) / IP() / UDP() / Raw(bytes(99))
    )
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "udp port 53", "--snaplen", "40") as capture:
        client.python(SEND_FRAME, frame.hex())
        capture.stop()
    assert fields(tmp_path / "capture.pcapng", "frame.cap_len", "frame.len") == [["40", str(len(frame))]]
    assert bytes(rdpcap(str(tmp_path / "capture.pcapng"))[0]) == frame[:40]
