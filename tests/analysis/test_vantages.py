"""Two captures of one connection: what happened to each segment between them."""

from __future__ import annotations

import struct
from pathlib import Path

import polars as pl
import pytest

from lab.analysis import analyze
from lab.analysis.capture_file import PcapngWriter
from lab.analysis.pcapng_blocks import read_interface, read_statistics
from lab.analysis.vantages import join, packets_from
from tests.pcaps.craft import Ladder

DELAY_NS = 5_000_000
Frames = list[tuple[int, bytes]]


def written(path: Path, frames: Frames, *, dropped: int = 0, recorded_ns: tuple[int, int] | None = None) -> Path:
    """Write frames as a capture."""
    with PcapngWriter(path) as file:
        for t_ns, data in frames:
            file.packet(t_ns, data)
        file.statistics(frames[-1][0], received=len(frames), dropped=dropped, recorded_ns=recorded_ns)
    return path


@pytest.fixture
def sent() -> Frames:
    ladder = Ladder()
    for n in range(5):
        ladder.a("PA", 1 + 10 * n, ack=1, data=bytes([65 + n]) * 10)
    return ladder.frames


def arrived(frames: Frames) -> Frames:
    return [(t_ns + DELAY_NS, data) for t_ns, data in frames]


def joined(tmp_path: Path, sent: Frames, received: Frames, *, dropped: int = 0) -> pl.DataFrame:
    both = written(tmp_path / "a.pcapng", sent), written(tmp_path / "b.pcapng", received, dropped=dropped)
    return packets_from(join(analyze([both[0]]), analyze([both[1]])), "10.0.0.1")


def test_a_clean_path_only_delays(tmp_path: Path, sent: Frames) -> None:
    rows = joined(tmp_path, sent, arrived(sent))
    assert rows["delay_ns"].to_list() == [DELAY_NS] * 5
    assert not rows["lost"].any()
    assert not rows["duplicated"].any()
    assert not rows["reordered"].any()


def test_a_segment_that_never_arrives_is_lost(tmp_path: Path, sent: Frames) -> None:
    rows = joined(tmp_path, sent, arrived(sent[:2] + sent[3:]))
    assert rows["lost"].to_list() == [False, False, True, False, False]
    assert rows["delay_ns"].to_list()[2] is None


def test_a_capture_that_dropped_packets_cannot_claim_a_loss(tmp_path: Path, sent: Frames) -> None:
    rows = joined(tmp_path, sent, arrived(sent[:2] + sent[3:]), dropped=1)
    assert rows["lost"].null_count() == 5


def test_a_segment_that_arrives_twice_is_duplicated(tmp_path: Path, sent: Frames) -> None:
    received = arrived(sent)
    received.append((received[-1][0] + 3_000_000, received[-1][1]))
    assert joined(tmp_path, sent, received)["duplicated"].to_list() == [False] * 5 + [True]


def test_a_segment_overtaken_by_a_later_one_is_reordered(tmp_path: Path, sent: Frames) -> None:
    received = arrived(sent)
    received[1], received[2] = (received[1][0], received[2][1]), (received[2][0], received[1][1])
    assert joined(tmp_path, sent, received)["reordered"].to_list() == [False, True, False, False, False]


def test_a_retransmission_is_a_copy_of_its_own(tmp_path: Path) -> None:
    ladder = Ladder()
    ladder.a("PA", 1, ack=1, data=b"abc", id=5)
    ladder.a("PA", 1, ack=1, data=b"abc", id=9)
    rows = joined(tmp_path, ladder.frames, arrived(ladder.frames)[1:])
    assert rows["lost"].to_list() == [True, False]


def test_what_is_sent_when_the_receiver_no_longer_records_is_not_called_lost(tmp_path: Path, sent: Frames) -> None:
    received = arrived(sent[:3])
    for ended_ns, told in (
        (sent[4][0] + DELAY_NS, [False, False, False, True, True]),
        (sent[4][0] + DELAY_NS - 1, [False, False, False, True, None]),
        (sent[3][0] + DELAY_NS - 1, [False, False, False, None, None]),
    ):
        one = written(tmp_path / "a.pcapng", sent)
        other = written(tmp_path / "b.pcapng", received, recorded_ns=(0, ended_ns))
        rows = packets_from(join(analyze([one]), analyze([other])), "10.0.0.1")
        assert rows["lost"].to_list() == told


def test_what_arrives_when_the_sender_does_not_yet_record_is_no_duplicate(tmp_path: Path, sent: Frames) -> None:
    received = arrived(sent)
    for began_ns, told in ((sent[0][0], [True, *[False] * 4]), (sent[0][0] + 1, [None, *[False] * 4])):
        one = written(tmp_path / "a.pcapng", sent[1:], recorded_ns=(began_ns, received[-1][0]))
        other = written(tmp_path / "b.pcapng", received)
        rows = packets_from(join(analyze([one]), analyze([other])), "10.0.0.1").sort("arrived_t_ns")
        assert rows["duplicated"].to_list() == told


def test_a_capture_tells_from_when_to_when_it_was_recorded(tmp_path: Path, sent: Frames) -> None:
    captures = analyze([written(tmp_path / "a.pcapng", sent, recorded_ns=(1 << 40, (1 << 60) + 3))]).captures
    assert captures.select("began_ns", "ended_ns").row(0) == (1 << 40, (1 << 60) + 3)
    captures = analyze([written(tmp_path / "b.pcapng", sent)]).captures
    assert captures.select("began_ns", "ended_ns").row(0) == (None, None)


def test_a_time_that_64_bits_cannot_hold_is_not_told(tmp_path: Path, sent: Frames) -> None:
    path = written(tmp_path / "a.pcapng", sent, recorded_ns=((1 << 63) - 1, (1 << 64) - 1))
    assert analyze([path]).captures.select("began_ns", "ended_ns").row(0) == ((1 << 63) - 1, None)


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [(6, 3_000_001, 3_000_001_000), (9, 7, 7), (0x80 | 10, 1024 + 512, 1_500_000_000), (12, 5_999, 5)],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_recorders_times_are_in_the_units_of_its_interface(
    order: str, resolution: int, ticks: int, expected_ns: int
) -> None:
    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + length + body + length

    tsresol = struct.pack(order + "HH", 9, 1) + bytes([resolution, 0, 0, 0])
    described = read_interface(block(1, struct.pack(order + "HHI", 1, 0, 0) + tsresol), big_endian=order == ">")
    end = struct.pack(order + "HHII", 3, 8, ticks >> 32, ticks & 0xFFFFFFFF)
    read_statistics(block(5, struct.pack(order + "III", 0, 0, 0) + end), [described], big_endian=order == ">")
    assert (described.began_ns, described.ended_ns) == (None, expected_ns)
