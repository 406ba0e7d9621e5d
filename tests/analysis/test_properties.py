"""What holds for any connection: how it is cut, where its numbers start, which end is which, change nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.analysis import analyze
from tests.pcaps.craft import Ladder, write_pcap

BOUNDED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Step = tuple[bool, int, bool]
"""(from A, payload bytes, sent twice) of one data segment."""
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.booleans()), max_size=12)
ISN = st.integers(0, 2**32 - 1)
NUMBERS = ("orig_isn", "resp_isn")
ENDS = ("orig_addr", "orig_port", "resp_addr", "resp_port")


def conversation(steps: list[Step], *, a_isn: int = 7, b_isn: int = 9, swapped: bool = False) -> Ladder:
    """A whole connection with these data segments; `swapped` exchanges the addresses of both ends."""
    ends = {"a": "10.0.0.9", "b": "10.0.0.1"} if swapped else {"a": "10.0.0.1", "b": "10.0.0.9"}
    ladder = Ladder(**ends, a_isn=a_isn, b_isn=b_isn)
    ladder.handshake()
    sent = {"a": 1, "b": 1}
    for from_a, size, twice in steps:
        me, other = ("a", "b") if from_a else ("b", "a")
        for _ in range(1 + twice):
            ladder.segment(me, "PA", sent[me], ack=sent[other], data=b"x" * size)
        sent[me] += size
        ladder.segment(other, "A", sent[other], ack=sent[me])
    ladder.close(sent["a"], sent["b"])
    return ladder


def connection(folder: Path, ladder: Ladder) -> pl.DataFrame:
    """The only row of the connections table."""
    path = folder / "made.pcap"
    write_pcap(path, ladder.frames)
    table = analyze([path]).connections
    assert table.height == 1
    return table


@BOUNDED
@given(
    size=st.integers(1, 200), cuts=st.lists(st.integers(1, 199), max_size=12), order=st.randoms(use_true_random=False)
)
def test_any_split_of_a_stream_in_any_order_gives_the_same_bytes(
    tmp_path: Path, size: int, cuts: list[int], order
) -> None:  # type: ignore[no-untyped-def]
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    pieces = list(pairwise(edges))
    order.shuffle(pieces)
    ladder = Ladder(a_isn=2**32 - 50)
    ladder.handshake()
    for start, end in pieces:
        ladder.a("PA", 1 + start, ack=1, data=b"x" * (end - start))
    ladder.b("A", 1, ack=1 + size)
    row = connection(tmp_path, ladder).row(0, named=True)
    assert row["orig_bytes"] == size
    assert (row["orig_missing_bytes"], row["orig_retransmissions"]) == (0, 0)
    assert row["orig_new_segments"] + row["orig_out_of_order"] == len(pieces) + 1


@BOUNDED
@given(pieces=st.lists(st.tuples(st.integers(0, 99), st.integers(2, 40)), min_size=1, max_size=20))
def test_overlapping_pieces_count_each_byte_once(tmp_path: Path, pieces: list[tuple[int, int]]) -> None:
    ladder = Ladder(a_isn=2**32 - 30)
    ladder.handshake()
    seen: set[int] = set()
    for start, length in pieces:
        ladder.a("PA", 1 + start, ack=1, data=b"x" * length)
        seen |= set(range(start, start + length))
    highest = max(seen) + 1
    ladder.b("A", 1, ack=1 + highest)
    row = connection(tmp_path, ladder).row(0, named=True)
    assert row["orig_bytes"] == len(seen)
    assert row["orig_missing_bytes"] == highest - len(seen)


@BOUNDED
@given(steps=STEPS, a_isn=ISN, b_isn=ISN)
def test_shifting_all_sequence_numbers_changes_nothing_but_them(
    tmp_path: Path, steps: list[Step], a_isn: int, b_isn: int
) -> None:
    plain = connection(tmp_path, conversation(steps))
    shifted = connection(tmp_path, conversation(steps, a_isn=a_isn, b_isn=b_isn))
    assert shifted.select(NUMBERS).row(0) == (a_isn, b_isn)
    assert shifted.drop(NUMBERS).equals(plain.drop(NUMBERS))


@BOUNDED
@given(steps=STEPS)
def test_swapping_the_ends_mirrors_and_changes_nothing_else(tmp_path: Path, steps: list[Step]) -> None:
    plain, swapped = (connection(tmp_path, conversation(steps, swapped=way)) for way in (False, True))
    assert swapped.select(ENDS).row(0) == ("10.0.0.9", 40_000, "10.0.0.1", 80)
    assert swapped.drop(ENDS).equals(plain.drop(ENDS))


@BOUNDED
@given(steps=STEPS)
def test_each_segment_has_one_class_and_the_counts_add_up(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "made.pcap"
    write_pcap(path, conversation(steps).frames)
    analysis = analyze([path])
    row, packets = analysis.connections.row(0, named=True), analysis.packets()
    for who in ("orig", "resp"):
        mine = packets.filter(pl.col("direction") == who)
        assert mine.height == row[f"{who}_packets"]
        counted = dict(mine.group_by("segment_class").len().iter_rows())
        assert counted.get("new", 0) == row[f"{who}_new_segments"]
        assert counted.get("retransmission", 0) == row[f"{who}_retransmissions"]
        assert counted.get("keep_alive", 0) == row[f"{who}_keep_alives"]
