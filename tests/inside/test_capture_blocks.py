"""What a sidecar leaves where it cannot stream: blocks, of which the lab makes the capture file."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from captures import SEND_FRAME, TRAFFIC, capturing, echo_server, fields, needs_tshark, tool
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import rdpcap
from two_hosts import Host

from lab.analysis.ring_blocks import BlocksBroken, left_here, make_capture
from lab.inside.machine_code import SWITCH
from lab.inside.pcapng_file import write_one_by_one
from lab.inside.recording import Recording
from lab.inside.ring import BLOCK_BYTES


@pytest.fixture(autouse=True)
def no_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")


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
