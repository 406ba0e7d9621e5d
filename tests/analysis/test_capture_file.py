"""Readers and writers of capture files: what is written is read, and a broken file keeps what came before the break."""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from backports import zstd

from lab.analysis import analyze
from lab.analysis.capture_file import InterfaceDescription, PcapngWriter, raw_packets
from lab.errors import CaptureFileBroken
from tests.pcaps.craft import START_NS, Ladder, write_pcap

FRAME = bytes(range(60))


@pytest.fixture
def ladder() -> Ladder:
    made = Ladder()
    made.handshake()
    made.close()
    return made


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block in either byte order."""
    length = 12 + len(body) + (-len(body) % 4)
    return struct.pack(order + "II", kind, length) + body + bytes(-len(body) % 4) + struct.pack(order + "I", length)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, *, linktype: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + options)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(order: str, ticks: int, data: bytes, *, number: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data)


def test_what_the_writer_writes_is_what_the_reader_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    described = InterfaceDescription(linktype=101, snaplen=96, name="veth0", filter="tcp port 80", os="Linux 6.1")
    with PcapngWriter(path, described) as file:
        file.packet(START_NS + 123, FRAME, original_bytes=1500)
        file.statistics(START_NS, received=7, dropped=2)
    (packet,) = raw_packets(path)
    assert (packet.t_ns, packet.data, packet.original_bytes) == (START_NS + 123, FRAME, 1500)
    made = packet.interface
    assert (made.linktype, made.snaplen, made.name, made.filter, made.os) == (
        101,
        96,
        "veth0",
        "tcp port 80",
        "Linux 6.1",
    )
    assert (made.received, made.dropped) == (7, 2)


@pytest.mark.parametrize(("if_drop", "os_drop", "lost"), [(3, 3, 3), (3, 0, 3), (0, 4, 4), (None, 4, 4), (2, None, 2)])
def test_one_loss_told_under_two_names_counts_once(
    tmp_path: Path, if_drop: int | None, os_drop: int | None, lost: int
) -> None:
    path = tmp_path / "x.pcapng"
    told = [(5, if_drop), (7, os_drop)]
    counters = b"".join(option("<", code, struct.pack("<Q", n)) for code, n in told if n is not None)
    path.write_bytes(section("<") + interface("<") + block("<", 5, struct.pack("<III", 0, 0, 0) + counters))
    assert analyze([path]).captures["dropped"].to_list() == [lost]


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="capinfos is not installed")
def test_wireshark_reads_what_the_writer_writes_without_a_warning(tmp_path: Path, ladder: Ladder) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path, InterfaceDescription(name="veth0", filter="tcp", os="Linux")) as file:
        for t_ns, data in ladder.frames:
            file.packet(t_ns, data)
        file.statistics(ladder.t_ns, received=7, dropped=0)
    done = subprocess.run(["capinfos", "-c", "-M", str(path)], capture_output=True, text=True, check=True)
    assert f"Number of packets:   {len(ladder.frames)}" in done.stdout
    assert "error" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [
        (b"\x06", 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (b"\x09", 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (b"\x03", 1_700_000_000_123, 1_700_000_000_123_000_000),
        (b"\x0c", 1_700_000_123_456_789_999, 1_700_000_123_456_789),
        (b"\x80", 1_700_000_000, 1_700_000_000_000_000_000),
        (b"\x8a", (1_700_000_000 << 10) + 512, 1_700_000_000_500_000_000),
        (b"\xa1", (1_700_000_000 << 33) + (1 << 31), 1_700_000_000_250_000_000),
    ],
)
def test_every_time_resolution_is_read(
    tmp_path: Path, order: str, resolution: bytes, ticks: int, expected_ns: int
) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(
        section(order) + interface(order, options=option(order, 9, resolution)) + enhanced(order, ticks, FRAME)
    )
    assert [packet.t_ns for packet in raw_packets(path)] == [expected_ns]


def test_a_time_offset_is_added(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(
        section("<") + interface("<", options=option("<", 14, struct.pack("<q", 100))) + enhanced("<", 5, FRAME)
    )
    assert [packet.t_ns for packet in raw_packets(path)] == [100_000_005_000]


def test_sections_bring_their_own_byte_order_and_interfaces(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    first = section("<") + interface("<", linktype=1) + enhanced("<", 1, FRAME)
    second = (
        section(">") + interface(">", linktype=101) + interface(">", linktype=113) + enhanced(">", 2, FRAME, number=1)
    )
    path.write_bytes(first + second)
    assert [packet.interface.linktype for packet in raw_packets(path)] == [1, 113]
    assert analyze([path]).captures["link_type"].to_list() == [1, 101, 113]


def test_unknown_and_simple_and_old_packet_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    simple = block("<", 3, struct.pack("<I", 60) + FRAME[:40])
    old = block("<", 2, struct.pack("<HHIIII", 0, 0, 0, 9, 60, 60) + FRAME)
    unknown = block("<", 0x0BAD, b"whatever")
    path.write_bytes(section("<") + interface("<", snaplen=40) + unknown + simple + old)
    read = list(raw_packets(path))
    assert [packet.data for packet in read] == [FRAME[:40], FRAME]
    assert [packet.original_bytes for packet in read] == [60, 60]
    assert read[1].t_ns == 9000


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_compressed_file_reads_as_the_plain_one(tmp_path: Path, ladder: Ladder, compress) -> None:  # type: ignore[no-untyped-def]
    plain, packed = tmp_path / "x.pcap", tmp_path / "x.packed"
    write_pcap(plain, ladder.frames)
    packed.write_bytes(compress(plain.read_bytes()))
    assert analyze([packed]).packets().equals(analyze([plain]).packets())


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_cut_compressed_file_is_broken_and_not_a_crash(tmp_path: Path, ladder: Ladder, compress) -> None:  # type: ignore[no-untyped-def]
    plain, packed = tmp_path / "x.pcap", tmp_path / "x.packed"
    write_pcap(plain, ladder.frames * 50)
    data = compress(plain.read_bytes())
    packed.write_bytes(data[: len(data) * 2 // 3])
    analysis = analyze([packed])
    assert len(analysis.errors) == 1
    assert analysis.captures["error"].null_count() == 0


def test_a_cut_file_keeps_what_came_before_the_cut(tmp_path: Path, ladder: Ladder) -> None:
    path = tmp_path / "x.pcap"
    write_pcap(path, ladder.frames)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    analysis = analyze([path])
    assert analysis.packet_count == len(ladder.frames) - 1
    last_record = len(data) - 16 - len(ladder.frames[-1][1])
    assert [error.offset for error in analysis.errors] == [last_record]
    assert f"byte {last_record}" in analysis.captures["error"][0]
    assert analysis.connections["teardown"].to_list() == ["last_ack_missing"]


def test_a_broken_file_does_not_hinder_the_next_one(tmp_path: Path, ladder: Ladder) -> None:
    good, bad = tmp_path / "good.pcap", tmp_path / "bad.pcap"
    write_pcap(good, ladder.frames)
    bad.write_bytes(b"no capture at all")
    analysis = analyze([bad, good])
    assert analysis.connections["teardown"].to_list() == ["fin4"]
    assert analysis.captures["packets"].to_list() == [0, len(ladder.frames)]
    assert "not a capture file" in str(analysis.errors[0])


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (error,) = analyze([tmp_path / "nowhere.pcap"]).errors
    assert "nowhere.pcap" in str(error)


def test_an_impossible_length_is_broken_at_its_offset(tmp_path: Path, ladder: Ladder) -> None:
    path = tmp_path / "x.pcapng"
    head = section("<") + interface("<")
    path.write_bytes(head + enhanced("<", 1, FRAME) + struct.pack("<III", 6, 13, 0) + bytes(100))
    with pytest.raises(CaptureFileBroken) as caught:
        list(raw_packets(path))
    assert caught.value.offset == len(head + enhanced("<", 1, FRAME))


def test_a_packet_larger_than_the_read_buffer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    write_pcap(path, [(START_NS, bytes(5 << 20)), (START_NS + 1, FRAME)], snaplen=8 << 20)
    assert [len(packet.data) for packet in raw_packets(path)] == [5 << 20, 60]


def test_wanted_packets_are_picked_by_index(tmp_path: Path, ladder: Ladder) -> None:
    import numpy as np

    path = tmp_path / "x.pcap"
    write_pcap(path, ladder.frames)
    picked = list(raw_packets(path, np.array([1, 4])))
    assert [(packet.index, packet.data) for packet in picked] == [(1, ladder.frames[1][1]), (4, ladder.frames[4][1])]
