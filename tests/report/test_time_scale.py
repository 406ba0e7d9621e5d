"""The axis is true to time between breaks, and labels make room for one another."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.report.time_scale import BREAK, LABEL, LONGEST, spread, time_scale

moments = st.lists(st.integers(0, 10**10), min_size=1, max_size=60).map(sorted)


@given(moments)
def test_between_breaks_distance_is_time_over_scale(times_ns: list[int]):
    scale = time_scale(times_ns)
    for i, (here, following) in enumerate(pairwise(scale.places)):
        gap_ns = times_ns[i + 1] - times_ns[i]
        if i in scale.broken:
            assert gap_ns / scale.ns_per_pixel > LONGEST
            assert following - here >= BREAK - 1e-6
        else:
            assert following - here == pytest.approx(gap_ns / scale.ns_per_pixel, abs=1e-3)


@given(moments)
def test_labels_never_overlap_and_keep_their_order(times_ns: list[int]):
    rows = time_scale(times_ns).rows
    assert all(following - here >= LABEL - 1e-3 for here, following in pairwise(rows))


@given(moments)
def test_nothing_stands_above_the_first_place(times_ns: list[int]):
    scale = time_scale(times_ns)
    assert min(*scale.places, *scale.rows) >= -1e-6


def test_a_pause_of_hours_takes_no_more_room_than_one_of_seconds():
    short, long = time_scale([0, 20, 40, 60, 10**9]), time_scale([0, 20, 40, 60, 10**13])
    assert short.places == long.places
    assert short.broken == (3,)


def test_gap_with_segments_left_out_is_broken_however_short():
    assert time_scale([0, 20, 40, 60], break_after=[1]).broken == (1,)


def test_spread_leaves_alone_what_has_room():
    assert spread([0.0, 30.0, 90.0], 26.0) == [0.0, 30.0, 90.0]


def test_spread_moves_a_crowd_evenly_to_both_sides():
    assert spread([100.0, 100.0, 100.0], 10.0) == pytest.approx([90.0, 100.0, 110.0])
