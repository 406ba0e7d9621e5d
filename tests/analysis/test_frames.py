"""The table of frames: where the bytes of each go, and which captures have it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lab.analysis import analyze, frames, write_parquet, write_vantages
from lab.analysis.frames import read_frames
from tests.analysis.test_corpus import CASES, input_of
from tests.pcaps.craft import Ladder, write_pcap

ALL = [input_of(case) for case in CASES]


def test_the_parts_of_every_frame_add_up_to_its_bytes() -> None:
    parts = [f"{layer}_bytes" for layer in ("link_header", "ip_header", "transport_header", "data", "trailer")]
    rows = read_frames([input_of(case) for case in CASES if case.name not in ("malformed", "snapped")])
    assert rows.filter(pl.sum_horizontal(parts) != pl.col("original_bytes")).is_empty()


def test_frames_are_numbered_like_packets_and_interfaces_like_captures() -> None:
    analysis = analyze(ALL)
    rows, packets = read_frames(analysis.paths), analysis.packets()
    both = rows.join(packets, on="index", how="left")
    assert both.height == rows.height
    for column in ("t_ns", "interface", "original_bytes"):
        assert (both[column] == both[f"{column}_right"]).all()


def test_a_file_that_is_broken_is_told_up_to_there(tmp_path: Path) -> None:
    ladder = Ladder()
    ladder.handshake()
    write_pcap(tmp_path / "cut.pcap", ladder.frames)
    whole = (tmp_path / "cut.pcap").read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[:-10])
    (tmp_path / "text.pcap").write_text("no capture")
    rows = read_frames([tmp_path / "cut.pcap", tmp_path / "text.pcap", ALL[0]])
    first = analyze([ALL[0]]).packet_count
    assert rows["interface"].to_list() == [0, 0] + [2] * first


def test_a_long_capture_has_no_such_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = analyze(ALL[:1]), analyze(ALL[:2])
    monkeypatch.setattr(frames, "MOST_FRAMES", short.packet_count)
    assert short.frames is not None
    assert long.frames is None
    write_parquet(short, tmp_path / "short")
    write_vantages({"a": short, "b": long}, tmp_path / "both")
    assert (tmp_path / "short" / "frames.parquet").exists()
    assert not (tmp_path / "both" / "frames.parquet").exists()
