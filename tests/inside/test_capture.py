"""The capture sidecar on real traffic between two hosts, its file read by other people's tools."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import rdpcap
from two_hosts import Host, Program, two_hosts

from lab.analysis.ring_blocks import BlocksBroken, left_here, make_capture
from lab.inside.counters import difference, parse_snmp
from lab.inside.pcapng_file import write_one_by_one
from lab.inside.recording import Recording
from lab.inside.ring import BLOCK_BYTES

TRAFFIC = str(Path(__file__).with_name("traffic.py"))
PROJECT = Path(__file__).parents[2]

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("capinfos") is None, reason="tshark or capinfos is missing"
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as pair:
        for host in pair:
            host.python(
                f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
                "from lab.inside.offloads import switch_offloads\n"
                "assert not any(switch_offloads('eth0', on=False).values())"
            )
        yield pair


@contextlib.contextmanager
def capturing(host: Host, out: Path, *arguments: str, **environment: str) -> Iterator[Program]:
    program = Program(host, out, "lab.inside.capture", "--name", "host", *arguments, **environment)
    try:
        program.await_event("ready")
        yield program
    finally:
        program.close()


@contextlib.contextmanager
def echo_server(host: Host, port: int = 9000, address: str | None = None) -> Iterator[None]:
    command = host.command(sys.executable, TRAFFIC, "serve", address or host.address, str(port))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == "up\n"
        yield
        server.stdin.close()


def tool(*command: str) -> str:
    """Run a Wireshark tool; anything on standard error but its remark about root fails the test."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert complaints == []
    return done.stdout


def fields(capture: Path, *names: str) -> list[list[str]]:
    options = [option for name in names for option in ("-e", name)]
    return [line.split("\t") for line in tool("tshark", "-r", str(capture), "-T", "fields", *options).splitlines()]


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


SEND_FRAME = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
    sender.bind(("eth0", 0))
    sender.send(bytes.fromhex(sys.argv[1]))
"""


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


class Left:
    """The blocks that a sidecar left of one interface, as the sidecar itself would read them: a spool's two calls."""

    block_bytes = BLOCK_BYTES

    def __init__(self, file: Path) -> None:
        self._content = file.read_bytes()

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        at = 0
        while at < len(self._content):
            yield self._content, at
            at += int.from_bytes(self._content[at + 20 : at + 24], sys.byteorder)


def in_python(folder: Path, recordings: int, snaplen: int) -> bytes:
    """The packets of what was left in a folder, converted by the sidecar's own code."""
    left = [
        Recording(interface="", linktype=1, ring=None, spool=Left(folder / f"capture.{i}.blocks"), start_ns=0)  # type: ignore[arg-type]
        for i in range(recordings)
    ]
    records = io.BytesIO()
    write_one_by_one(records, left, snaplen, None)
    return records.getvalue()


@needs_tshark
def test_what_a_run_leaves_becomes_the_file_that_the_sidecar_itself_would_write(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    server, client = hosts
    broadcast = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    tagged = bytes(broadcast / Dot1Q(vlan=7, prio=5) / IP() / UDP(dport=9011) / Raw(b"tagged"))
    interfaces = ("--interface", "eth0", "--interface", "lo", "--snaplen", "97", "--ring-bytes", str(2 << 20))
    with capturing(server, tmp_path, *interfaces, LAB_BARRIER="signal") as capture:
        with echo_server(server, 9011), echo_server(server, 9011, "127.0.0.1"):
            client.run(sys.executable, TRAFFIC, "connect", server.address, "9011", "1000")
            server.run(sys.executable, TRAFFIC, "connect", "127.0.0.1", "9011", "30")
            client.python(SEND_FRAME, tagged.hex())
            client.run(sys.executable, TRAFFIC, "bulk", server.address, "9011", "20000")
        result = capture.stop()
    told = result["interfaces"]
    assert told["eth0"]["spooled_bytes"] > 1 << 20  # more than half of the ring: blocks were moved while it ran
    expected = in_python(tmp_path, 2, 97)
    first_and_last = [(told[name]["first_ns"], told[name]["last_ns"]) for name in ("eth0", "lo")]
    assert left_here(tmp_path)
    make_capture(tmp_path, tmp_path / "made.pcapng")
    assert not left_here(tmp_path)
    assert list(tmp_path.glob("*.blocks")) == []
    assert expected in (tmp_path / "made.pcapng").read_bytes()
    packets = fields(tmp_path / "made.pcapng", "frame.interface_name", "frame.time_epoch", "vlan.id")
    for name, (first, last) in zip(("eth0", "lo"), first_and_last, strict=True):
        times = [int(time.replace(".", "")) for interface, time, _ in packets if interface == name]
        assert (times[0], times[-1]) == (first, last)
        assert len(times) == told[name]["written"] == told[name]["received"]
    assert [vlan for _, _, vlan in packets].count("7") == 1
    assert "Number of stat entries = 1" in tool("capinfos", "-M", str(tmp_path / "made.pcapng"))


def test_the_cap_on_what_a_run_leaves_keeps_the_beginning(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    arguments = ("--interface", "eth0", "--filter", "udp dst port 9013", "--max-bytes", "20000")
    with capturing(server, tmp_path, *arguments, LAB_BARRIER="signal") as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9013", "1000")
        result = capture.stop()
    eth0 = result["interfaces"]["eth0"]
    assert result["truncated_by_cap"] is True
    assert eth0["truncated_by_cap"] is True
    assert eth0["received"] == 1000
    assert 19_000 < (tmp_path / "capture.0.blocks").stat().st_size <= 20_000
    make_capture(tmp_path, tmp_path / "made.pcapng")
    assert (tmp_path / "made.pcapng").stat().st_size <= 20_000
    numbers = [int.from_bytes(bytes(packet)[42:46], "big") for packet in rdpcap(str(tmp_path / "made.pcapng"))]
    assert numbers == list(range(eth0["written"]))
    assert 0 < eth0["written"] < 1000


def test_a_run_in_which_nothing_passed_leaves_a_valid_empty_file(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    arguments = ("--interface", "eth0", "--filter", "tcp port 1")
    with capturing(hosts[0], tmp_path, *arguments, LAB_BARRIER="signal") as capture:
        assert capture.stop()["interfaces"]["eth0"]["first_ns"] is None
    make_capture(tmp_path, tmp_path / "made.pcapng")
    assert list(rdpcap(str(tmp_path / "made.pcapng"))) == []


def test_blocks_that_end_in_the_middle_are_refused(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(
        server, tmp_path, "--interface", "eth0", "--filter", "udp port 9014", LAB_BARRIER="signal"
    ) as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9014", "10")
        capture.stop()
    blocks = tmp_path / "capture.0.blocks"
    blocks.write_bytes(blocks.read_bytes()[:-4])
    with pytest.raises(BlocksBroken, match="block at 0"):
        make_capture(tmp_path, tmp_path / "made.pcapng")
    assert not (tmp_path / "made.pcapng").exists()


def test_a_wrong_filter_ends_with_2_and_libpcaps_words(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    done = run_to_the_end(hosts[0], tmp_path, "--interface", "eth0", "--filter", "tcp prt 9000")
    assert done.returncode == 2
    assert "--filter 'tcp prt 9000'" in done.stderr
    assert "syntax error" in done.stderr
    assert done.stdout == ""


def test_an_unknown_interface_ends_with_2_and_names_those_there_are(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    done = run_to_the_end(hosts[0], tmp_path, "--interface", "eth9")
    assert done.returncode == 2
    assert "eth9" in done.stderr
    assert "eth0" in done.stderr


def test_the_recorder_gives_up_every_capability(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with capturing(hosts[0], tmp_path, "--interface", "eth0") as capture:
        status = Path(f"/proc/{capture.process.pid}/status").read_text()
        capture.stop()
    sets = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert {sets[name] for name in ("CapEff", "CapPrm", "CapInh")} == {"0" * 16}


def test_progress_tells_packets_and_drops_so_far(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "udp dst port 9010") as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9010", "20")
        while (progress := capture.await_event("progress"))["packets"] < 20:
            assert progress["dropped"] == 0
        assert progress["packets"] == 20
        result = capture.stop()
    assert json.loads((tmp_path / "capture.json").read_text())["interfaces"] == result["interfaces"]


def run_to_the_end(host: Host, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "LAB_OUT": str(out)}
    return subprocess.run(
        host.command(sys.executable, "-m", "lab.inside.capture", *arguments),
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PROJECT,
        env=environment,
    )
