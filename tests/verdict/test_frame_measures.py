"""Measures of frames, observed in a run folder whose host saw ARP, a datagram in two fragments and a group's frame."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lab.verdict import judge
from tests.verdict.run_folder import expectation, make_run

FRAMES = pl.DataFrame(
    {
        "host": ["server"] * 6 + ["client"],
        "cast": ["broadcast", "unicast", "unicast", "unicast", "multicast", "unicast", "broadcast"],
        "arp_operation": ["request", "reply", None, None, None, None, "request"],
        "more_fragments": [None, None, True, False, False, False, None],
        "fragment_offset": [None, None, 0, 1480, 0, 0, None],
    }
)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("arp.requests", 1),
        ("arp.replies", 1),
        ("fragments", 2),
        ("frames.unicast", 4),
        ("frames.multicast", 1),
        ("frames.broadcast", 1),
    ],
)
def test_each_kind_is_counted_at_the_host_that_is_asked(tmp_path: Path, what: str, value: int) -> None:
    folder = make_run(tmp_path, expectation(what, equal=value))
    FRAMES.write_parquet(folder / "tables" / "frames.parquet")
    (row,) = judge(folder, {})["expectations"]
    assert (row["observed"], row["verdict"]) == (value, "pass")
    assert "host server" in row["evidence"]


def test_without_the_table_nothing_is_claimed(tmp_path: Path) -> None:
    (row,) = judge(make_run(tmp_path, expectation("arp.requests", equal=0)), {})["expectations"]
    assert (row["observed"], row["verdict"]) == (None, "unknown")
    assert "too long" in row["evidence"]


def test_a_kind_that_does_not_exist_is_no_zero(tmp_path: Path) -> None:
    folder = make_run(tmp_path, expectation("frames.anycast", equal=0))
    FRAMES.write_parquet(folder / "tables" / "frames.parquet")
    (row,) = judge(folder, {})["expectations"]
    assert row["verdict"] == "unknown"
    assert "there are: arp.requests" in row["evidence"]
