"""Where tshark and this analysis agree on the corpus, and why they do not where they differ.

`DIFFERENCES` explains each capture on which a compared figure differs: a difference without an explanation fails, and
so does an explanation without a difference. tshark takes most of a second to start, so they are among the live tests;
or as a report: `python -m tests.analysis.test_agreement`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from lab.analysis import analyze
from tests.analysis.test_corpus import CASES, input_of

FIELDS = ("tcp.stream", "tcp.analysis.retransmission", "tcp.analysis.keep_alive", "tcp.analysis.duplicate_ack",
          "tcp.analysis.zero_window", "tcp.analysis.out_of_order", "tcp.analysis.fast_retransmission",
          "tcp.analysis.zero_window_probe", "tcp.len")  # fmt: skip
Figures = dict[str, int]

NOTHING_OUTSTANDING = "tshark does not ask whether data are outstanding (RFC 5681 does)"
DIFFERENCES: dict[str, dict[str, str]] = {
    "capture-duplicate": {"retransmissions": "tshark takes a copy made by the capture for a retransmission"},
    "duplicate-ack-conditions": {"duplicate_acks": NOTHING_OUTSTANDING},
    "duplicate-ack-sack-news": {"duplicate_acks": "to tshark a changed window excludes it, SACK news or not"},
    "fin-retransmitted": {"duplicate_acks": NOTHING_OUTSTANDING},
    "fragments": {"segments": "tshark reassembles: one segment; here each fragment is the part that it carries"},
    "handshake-reordered-ack-first": {
        "retransmissions": "tshark takes a SYN that stands late in the file for a copy",
        "out_of_order": "the late SYN was not seen before",
    },
    "handshake-split-5": {
        "connections": "tshark starts a stream at the bare SYN of B, and one at the ACK before it",
        "retransmissions": "A's SYN-ACK sends its SYN's octet again; in two streams tshark cannot see that",
    },
    "malformed": {"segments": "tshark counts TCP headers that contradict themselves"},
    "one-byte-retransmission": {
        "retransmissions": "the byte is not acknowledged: sent again, not probed",
        "keep_alives": "tshark goes by the length alone",
    },
    "out-of-order-between-holes": {
        "retransmissions": "tshark guesses by time (3 ms) what fills a hole; here it is what was not seen before",
        "out_of_order": "the same",
    },
    "pcapng-two-interfaces": {
        "connections": "two vantages: tshark joins them",
        "retransmissions": "the second vantage's view, to tshark a copy",
        "duplicate_acks": "the same",
    },
    "retransmission-spurious-by-dsack": {"duplicate_acks": NOTHING_OUTSTANDING},
    "retransmission-two-duplicates": {"fast": "tshark calls it fast after two duplicates within 20 ms"},
    "wraparound": {"duplicate_acks": NOTHING_OUTSTANDING},
    "wraparound-by-syn": {"duplicate_acks": "to tshark the number 0 was acknowledged before anything was"},
    "zero-window-probe": {
        "retransmissions": "the probe's byte is sent again with the data that follow",
        "keep_alives": "a probe at end - 1 against a closed window is no keep-alive",
        "probes": "the same",
    },
}


def by_tshark(capture: Path) -> Figures:
    """Count per capture what tshark says."""
    fields = [part for field in FIELDS for part in ("-e", field)]
    command = [
        "tshark",
        "-2",
        "-n",
        "-r",
        str(capture),
        "-Y",
        "tcp && !icmp",
        "-T",
        "fields",
        "-E",
        "separator=|",
        *fields,
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("|") for line in lines]
    columns = {field: [row[place] for row in rows] for place, field in enumerate(FIELDS)}
    return {
        "connections": len({stream for stream in columns["tcp.stream"] if stream}),
        "segments": len(rows),
        "retransmissions": sum(map(bool, columns["tcp.analysis.retransmission"])),
        "fast": sum(map(bool, columns["tcp.analysis.fast_retransmission"])),
        "out_of_order": sum(map(bool, columns["tcp.analysis.out_of_order"])),
        "keep_alives": sum(map(bool, columns["tcp.analysis.keep_alive"])),
        "probes": sum(map(bool, columns["tcp.analysis.zero_window_probe"])),
        "duplicate_acks": sum(map(bool, columns["tcp.analysis.duplicate_ack"])),
        "zero_windows": sum(map(bool, columns["tcp.analysis.zero_window"])),
    }


def by_us(capture: Path) -> Figures:
    """Count the same."""
    analysis = analyze([capture])
    table = analysis.connections
    segments = analysis.packets().filter((pl.col("protocol") == 6) & pl.col("connection").is_not_null())

    def both(name: str) -> int:
        return int(table[f"orig_{name}"].sum() + table[f"resp_{name}"].sum())

    return {
        "connections": table.height,
        "segments": segments.height,
        "retransmissions": both("retransmissions"),
        "fast": both("fast_retransmissions"),
        "out_of_order": both("out_of_order"),
        "keep_alives": both("keep_alives"),
        "probes": both("probes"),
        "duplicate_acks": both("duplicate_acks"),
        "zero_windows": both("zero_windows"),
    }


def differing(case: Path) -> dict[str, tuple[int, int]]:
    """Figures that differ, as (tshark's, ours)."""
    theirs, ours = by_tshark(input_of(case)), by_us(input_of(case))
    return {name: (theirs[name], ours[name]) for name in ours if theirs[name] != ours[name]}


needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
@pytest.mark.live
@pytest.mark.parametrize("case", [case for case in CASES if case.name in DIFFERENCES], ids=lambda case: case.name)
def test_each_known_difference_from_tshark_is_there(case: Path) -> None:
    found = differing(case)
    assert set(found) == set(DIFFERENCES[case.name]), found


@needs_tshark
@pytest.mark.live
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in DIFFERENCES], ids=lambda case: case.name)
def test_tshark_agrees_on_every_other_capture(case: Path) -> None:
    assert differing(case) == {}


def test_every_explanation_is_about_a_case() -> None:
    assert set(DIFFERENCES) <= {case.name for case in CASES}


def report() -> None:
    """Print the agreement report."""
    for case in CASES:
        found = differing(case)
        print(f"{case.name}: {'agrees' if not found else ''}")
        for name, (theirs, ours) in found.items():
            print(
                f"    {name}: tshark {theirs}, here {ours}: {DIFFERENCES.get(case.name, {}).get(name, 'UNEXPLAINED')}"
            )


if __name__ == "__main__":
    report()
