"""Nothing that passed is missing from a capture, from the first packet to the last, and losses are counted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from captures import TRAFFIC, capturing, echo_server, fields, needs_tshark, tool
from two_hosts import Host

from lab.inside.counters import difference, parse_snmp


@needs_tshark
def test_a_capture_armed_before_the_traffic_misses_nothing(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "tcp port 9000") as capture:
        with echo_server(server):
            client.run(sys.executable, TRAFFIC, "connect", server.address, "9000", "50")
        result = capture.stop()
    eth0 = result["interfaces"]["eth0"]
    assert eth0["dropped"] == 0
    assert eth0["received"] == eth0["written"]
    packets = fields(tmp_path / "capture.pcapng", "tcp.flags.syn", "tcp.flags.ack", "tcp.len", "tcp.flags.fin")
    assert len(packets) == eth0["written"]
    assert sum(p[:2] == ["1", "0"] for p in packets) == 50  # every SYN, the first one included
    assert sum(int(p[2]) for p in packets) == 50 * 64 * 2
    assert sum(p[3] == "1" for p in packets) == 100


@needs_tshark
def test_segments_captured_on_both_hosts_equal_the_kernels_counters(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    before = [parse_snmp(host.counters_text("snmp")) for host in hosts]
    server, client = hosts
    with (
        capturing(server, tmp_path / "server", "--interface", "eth0", "--filter", "tcp") as at_server,
        capturing(client, tmp_path / "client", "--interface", "eth0", "--filter", "tcp") as at_client,
    ):
        with echo_server(server, 9001):
            client.run(sys.executable, TRAFFIC, "connect", server.address, "9001", "300")
            client.run(sys.executable, TRAFFIC, "bulk", server.address, "9001", "500000")
        at_server.stop()
        at_client.stop()
    for host, out, earlier in zip(hosts, ("server", "client"), before, strict=True):
        delta = difference(earlier, parse_snmp(host.counters_text("snmp")))
        directions = [d for (d,) in fields(tmp_path / out / "capture.pcapng", "frame.packet_flags_direction")]
        inbound, outbound = directions.count("0x00000001"), directions.count("0x00000002")
        assert inbound == delta["Tcp.InSegs"]
        assert outbound == delta["Tcp.OutSegs"] + delta.get("Tcp.RetransSegs", 0)


@needs_tshark
def test_the_last_500_datagrams_before_the_stop_are_all_in_the_file(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "udp dst port 9002") as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9002", "500")
        capture.signal(signal.SIGTERM)  # the first thing after the last datagram: a block is still being filled
        result = capture.await_event("result")
    assert result["drained"] is True
    assert result["interfaces"]["eth0"]["written"] == 500
    numbers = [int(payload[:8], 16) for (payload,) in fields(tmp_path / "capture.pcapng", "udp.payload")]
    assert numbers == list(range(500))


@needs_tshark
def test_drops_of_a_ring_that_is_too_small_are_counted_and_stand_in_the_file(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    server, client = hosts
    arguments = ("--interface", "eth0", "--filter", "udp dst port 9003", "--ring-bytes", "8192")
    with capturing(server, tmp_path, *arguments) as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9003", "3000")
        result = capture.stop()
    eth0 = result["interfaces"]["eth0"]
    assert eth0["received"] == 3000
    assert eth0["dropped"] > 0
    assert eth0["written"] == 3000 - eth0["dropped"]
    assert len(fields(tmp_path / "capture.pcapng", "frame.number")) == eth0["written"]
    statistics = "pcapng.options.option.data.interface"
    told = tool(
        *("tshark", "-r", str(tmp_path / "capture.pcapng"), "-X", "read_format:MIME Files Format", "-T", "fields"),
        *("-e", f"{statistics}.dropped", "-e", f"{statistics}.received", "-e", f"{statistics}.delivered_to_user"),
    )
    assert told.split() == [str(eth0["dropped"]), "3000", str(eth0["written"])]


@needs_tshark
def test_what_does_not_fit_into_half_the_ring_goes_by_the_disk_and_is_complete(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    server, client = hosts
    arguments = (
        "--interface",
        "eth0",
        "--filter",
        "tcp port 9007",
        "--ring-bytes",
        str(2 << 20),
    )  # all of it fits: none can drop
    with capturing(server, tmp_path, *arguments) as capture:
        with echo_server(server, 9007):
            client.run(sys.executable, TRAFFIC, "connect", server.address, "9007", "1000")
        result = capture.stop()
    eth0 = result["interfaces"]["eth0"]
    assert eth0["spooled_bytes"] > 0
    assert eth0["dropped"] == 0
    assert eth0["written"] == eth0["received"] == len(fields(tmp_path / "capture.pcapng", "frame.number"))
    assert list(tmp_path.glob("*.spool")) == []
