"""Numbers with units as people write them: "10k", "5ms", "64KiB", "1k/s" <-> int count, ns, bytes, float per second.

The only place that parses or prints units. Inside the lab time is int nanoseconds, sizes are int bytes, counts are int,
rates are float per second. Parsers raise ValueError with what is allowed; printers never lose the order of magnitude.
"""

from __future__ import annotations

import re
from decimal import Decimal

COUNT_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "M": 1_000_000, "G": 1_000_000_000}
DURATION_FACTORS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
BYTE_FACTORS = {
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}

COUNT_PATTERN = r"^\d+(\.\d+)?(k|m|M|G)?$"
DURATION_PATTERN = r"^\d+(\.\d+)?\s*(ns|us|µs|ms|s|min)$"
BYTES_PATTERN = r"^\d+(\.\d+)?\s*(B|kB|MB|GB|KiB|MiB|GiB)$"
RATE_PATTERN = r"^\d+(\.\d+)?(k|m|M|G)?\s*/\s*s$"

_NUMBER_UNIT = re.compile(r"^(\d+(?:\.\d+)?)\s*([^\d\s]*)$")


def _parse(text: object, factors: dict[str, int], what: str, examples: str) -> int:
    match = _NUMBER_UNIT.match(text.strip()) if isinstance(text, str) else None
    if match is None or match[2] not in factors:
        units = ", ".join(unit for unit in factors if unit) or "no unit"
        raise ValueError(f"not a {what}, got {text!r}; write a number and one of {units}, e.g. {examples}")
    value = Decimal(match[1]) * factors[match[2]]
    if value != value.to_integral_value():
        raise ValueError(f"not a whole {what}, got {text!r}; e.g. {examples}")
    return int(value)


def parse_count(value: object) -> int:
    """Parse a count: an int, or "10k", "1.5M". Raises ValueError for anything else, negative numbers included."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return _parse(value, COUNT_FACTORS, "count", "200 or 10k")


def parse_duration_ns(value: object) -> int:
    """Parse a duration into ns: "5ms", "1.5 s"; a bare 0 is allowed, any other bare number is not."""
    if value == 0 and not isinstance(value, bool):
        return 0
    return _parse(value, DURATION_FACTORS, "duration", "500us, 5ms or 2s")


def parse_bytes(value: object) -> int:
    """Parse a size into bytes: "64B", "64KiB" (1024), "1MB" (10^6); a bare 0 is allowed."""
    if value == 0 and not isinstance(value, bool):
        return 0
    return _parse(value, BYTE_FACTORS, "size", "64B or 64KiB")


def parse_rate(value: object) -> float:
    """Parse a rate into events per second: "500/s", "2k/s"."""
    match = re.match(r"^(.*?)\s*/\s*s$", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"not a rate, got {value!r}; write a count per second, e.g. 500/s or 2k/s")
    number = _NUMBER_UNIT.match(match[1])
    if number is None or number[2] not in COUNT_FACTORS:
        raise ValueError(f"not a rate, got {value!r}; write a count per second, e.g. 500/s or 2k/s")
    rate = float(Decimal(number[1]) * COUNT_FACTORS[number[2]])
    if rate <= 0:
        raise ValueError(f"not a rate above zero, got {value!r}; leave the key out for no limit")
    return rate


def _trim(number: float, digits: int = 3) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1230."""
    if number == 0:
        return "0"
    text = f"{number:.{digits}g}"
    if "e" in text:
        text = f"{float(text):.0f}"
    return text


def show_count(count: float) -> str:
    """Print a count with thousands separators: 10,000. A fraction below 1,000 keeps three digits, above it none."""
    return f"{count:,.0f}" if float(count).is_integer() or abs(count) >= 1000 else f"{count:.3g}"


def show_duration(ns: float) -> str:
    """Print ns with the unit that keeps it readable: 950 ns, 53.1 us, 4.2 ms, 1.25 s."""
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= factor:
            return f"{_trim(ns / factor)} {unit}"
    return f"{_trim(ns)} ns"


def show_bytes(size: float) -> str:
    """Print bytes with a binary unit: 64 B, 1.5 KiB, 13 MiB."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(size) >= factor:
            return f"{_trim(size / factor)} {unit}"
    return f"{_trim(size)} B"


def show_rate(per_s: float) -> str:
    """Print a rate: 2,000/s."""
    return f"{show_count(per_s if per_s < 100 else round(per_s))}/s"


def show_value(value: float, unit: str) -> str:
    """Print a measured number in its measure's unit (`ns`, `bytes`, `per_s`; any other is a count)."""
    return {"ns": show_duration, "bytes": show_bytes, "per_s": show_rate}.get(unit, show_count)(value)
