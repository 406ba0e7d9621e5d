"""What `make bench` says at its end: each figure beside what is to be reached, and the charts of its README.

The figures themselves are no test's business. The lines of the run that the README quotes are (`results.jsonl`): what
the README shows must be drawn from them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import PROGRAMS, charts, figures, table

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
LINES: list[dict[str, Any]] = [json.loads(line) for line in (BENCHMARKS / "results.jsonl").read_text().splitlines()]


def reached(line: dict[str, Any]) -> list[bool | None]:
    return [figure.reached for figure in figures([line])]


def line_of(benchmark: str, **changed: object) -> dict[str, Any]:
    found = next(line for line in LINES if line["benchmark"] == benchmark)
    return {**found, **changed}


@pytest.mark.parametrize(
    ("benchmark", "good", "bad"),
    [
        ("server against C", {"ratio": 0.9}, {"ratio": 0.899}),
        ("lab overhead", {"reach_s": 3.0, "overhead_s": 3.0}, {"reach_s": 3.0, "overhead_s": 3.01}),
        ("connect rate of one fleet host", {"connect_s": 10.0}, {"connect_s": 1.0, "errors": {"refused": 1}}),
        (
            "scale",
            {"connections": 100_000, "connect_s": 10.0},
            {"connections": 100_000, "connect_s": 2.0, "verdict": "fail"},
        ),
        ("scale", {"connections": 1_000_000, "connect_s": 60.0}, {"connections": 1_000_000, "connect_s": 60.01}),
    ],
)
def test_a_figure_is_reached_up_to_its_bound(benchmark: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    assert reached(line_of(benchmark, **good)) == [True]
    assert reached(line_of(benchmark, **bad)) == [False]


def test_a_capture_that_lost_one_packet_of_the_last_is_not_whole() -> None:
    line = line_of("capture")
    line["cpu_ratio_to_tcpdump"] = {"median": 1.21, "min": 0.9, "max": 2.0}
    line["sidecar"] = {**line["sidecar"], "tail_of_500": [500, 499, 500]}
    assert reached(line) == [False, None, False]


def test_each_figure_of_the_analysis_has_its_own_bound() -> None:
    line = line_of(
        "analysis", memory_packets_per_s=5e6, parquet_packets_per_s=1.9e6, times_tshark=200, times_tcptrace=None
    )
    assert reached(line) == [True, False, True]


def test_a_program_that_failed_is_named() -> None:
    line = {"benchmark": "capture", "failed": 3}
    assert [(figure.what, figure.measured, figure.reached) for figure in figures([line])] == [
        ("capture", "ended with 3", False)
    ]
    assert "capture  ended with 3    NOT reached" in table(figures([line]))
    assert charts([line]) == {}


def test_the_charts_beside_the_readme_are_drawn_from_the_lines_beside_it() -> None:
    drawn = charts(LINES)
    shown = set(re.findall(r"\(([a-z_]+\.svg)\)", (BENCHMARKS / "README.md").read_text()))
    assert shown == set(drawn)
    for name, chart in drawn.items():
        assert (BENCHMARKS / name).read_text() == chart + "\n", f"make them again: -m benchmarks --of ... ({name})"


def test_the_readme_says_what_the_lines_say() -> None:
    readme = (BENCHMARKS / "README.md").read_text()
    assert table(figures(LINES)) in readme


def test_every_program_is_run() -> None:
    programs = {path.stem for path in BENCHMARKS.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()}
    assert programs - {"__main__"} == set(PROGRAMS)


def test_lines_that_were_kept_are_shown_again() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--of", str(BENCHMARKS / "results.jsonl")],
        cwd=BENCHMARKS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == (BENCHMARKS / "results.jsonl").read_text()
    assert shown.stderr.strip() == table(figures(LINES))
