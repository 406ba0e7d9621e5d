"""Units: what people write becomes exact ints, and nothing else passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import units


@pytest.mark.parametrize(
    ("text", "count"), [(0, 0), (200, 200), ("200", 200), ("10k", 10_000), ("1.5M", 1_500_000), ("1m", 1_000_000)]
)
def test_a_count_is_an_int_or_a_number_with_a_factor(text: object, count: int) -> None:
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("5ms", 5_000_000),
        ("1.5 s", 1_500_000_000),
        ("60us", 60_000),
        ("60µs", 60_000),
        ("2min", 120_000_000_000),
        (0, 0),
    ],
)
def test_a_duration_becomes_nanoseconds(text: object, ns: int) -> None:
    assert units.parse_duration_ns(text) == ns


@pytest.mark.parametrize(("text", "size"), [("64B", 64), ("64KiB", 65_536), ("1MB", 1_000_000), ("1.5 KiB", 1536)])
def test_a_size_becomes_bytes(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


def test_a_rate_is_per_second() -> None:
    assert units.parse_rate("2k/s") == 2000.0


@pytest.mark.parametrize("text", ["", "k", "ten", "-1", "5ms", True, None, 1.5, "1.0001k"])
def test_what_is_no_count_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="count"):
        units.parse_count(text)


@pytest.mark.parametrize("text", [5, "5", "5 parsecs", "5KiB", True])
def test_a_duration_needs_its_unit(text: object) -> None:
    with pytest.raises(ValueError, match=r"not a duration, got .*; write a number and one of ns"):
        units.parse_duration_ns(text)


@pytest.mark.parametrize("text", ["2k", "/s", "0/s", "x/s", 5])
def test_a_rate_needs_a_number_above_zero_and_per_second(text: object) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        units.parse_rate(text)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_printed_duration_parses_back_within_its_three_digits(ns: int) -> None:
    back = units.parse_duration_ns(units.show_duration(ns)) if ns else 0
    assert abs(back - ns) <= max(ns * 0.006, 1)


def test_printing_keeps_the_order_of_magnitude() -> None:
    assert units.show_duration(950) == "950 ns"
    assert units.show_duration(53_120) == "53.1 us"
    assert units.show_duration(1_250_000_000) == "1.25 s"
    assert units.show_bytes(13 << 20) == "13 MiB"
    assert units.show_count(10_000) == "10,000"
    assert (units.show_count(1004.6), units.show_count(0.12345)) == ("1,005", "0.123")
    assert units.show_rate(2000) == "2,000/s"
