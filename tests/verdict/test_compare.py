"""Comparing: intervals without a distribution, differences, and the verdict of a series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.report.comparison import series_text
from lab.verdict import judge
from lab.verdict.compare import Subject, differ, findings, interval, row
from lab.verdict.series import judge_series
from tests.verdict.run_folder import expectation, make_run


@pytest.mark.parametrize(
    ("count", "low", "high", "confidence"),
    [(2, 1, 2, 0.5), (3, 1, 3, 0.75), (6, 1, 6, 0.96875), (9, 2, 8, 0.9609375), (20, 6, 15, 0.9586)],
)
def test_the_interval_is_that_of_order_statistics(count: int, low: int, high: int, confidence: float) -> None:
    found = interval(list(range(count, 0, -1)))
    assert (found.low, found.high) == (low, high)
    assert found.confidence == pytest.approx(confidence, abs=1e-4)


def test_one_repeat_has_no_interval_and_none_has_no_median() -> None:
    assert (interval([4.0]).median, interval([4.0]).low) == (4.0, None)
    assert interval([]).median is None


def test_overlap_is_no_difference_and_without_an_interval_nothing_is_said() -> None:
    assert differ(interval([1, 2, 3]), interval([3, 4, 5])) is False
    assert differ(interval([1, 2, 3]), interval([4, 5, 6])) is True
    assert differ(interval([1]), interval([9, 9, 9])) is None


def run(folder: Path, cpu_ns: int, *, verdict: str = "pass") -> Path:
    """Make a run of 4 messages whose server used so much CPU time, judged."""
    make_run(folder, expectation("fleet.opened", equal=3 if verdict == "pass" else 4))
    server = json.loads((folder / "hosts/server/server.json").read_text())
    server["usage"] = {"cpu_user_ns": cpu_ns, "cpu_system_ns": 0}
    (folder / "hosts/server/server.json").write_text(json.dumps(server))
    (folder / "verdict.json").write_text(json.dumps(judge(folder, {})))
    return folder


def series(folder: Path, cells: dict[str, list[int]], **given: Any) -> Path:
    """Make a series: cell to the CPU time of each of its repeats."""
    rows = []
    for name, values in cells.items():
        runs = [f"cells/{name}-{number}" for number in range(1, len(values) + 1)]
        for place, value in zip(runs, values, strict=True):
            run(folder / place, value)
        rows.append({"name": name, "axes": {"server.model": name}, "runs": runs, "failed": [], "left_out": None})
    whole = {"scenario": "made", "title": "Made", "lesson": "", "run": "s1", "engine": "netns", "repeats": 3}
    whole |= {"columns": ["server.cpu"], "cells": rows, "compare": [], **given}
    (folder / "series.json").write_text(json.dumps(whole))
    return folder


def compared(at_least: float) -> dict[str, Any]:
    sides = {"of_cells": ["slow"], "over_cells": ["fast"]}
    return {"what": "server.cpu", "at_least": at_least, "at_most": None, "because": None, **sides}


CELLS = {"fast": [10, 11, 12], "same": [11, 12, 13], "slow": [100, 110, 120]}


def test_a_row_holds_the_median_and_each_repeat(tmp_path: Path) -> None:
    folders = [run(tmp_path / str(number), value) for number, value in enumerate((40, 20, 30))]
    found = row(Subject(name="a", folders=folders), ["server.cpu", "server.load_cpu"])
    assert found["columns"]["server.cpu"]["median"] == 30
    assert found["columns"]["server.cpu"]["values"] == (40, 20, 30)
    assert found["columns"]["server.load_cpu"]["median"] is None, "a run without the table tells no number"
    assert (found["verdict"], found["validity"]) == ("pass", "valid")


def test_the_best_and_those_no_different_from_it_are_named(tmp_path: Path) -> None:
    verdict = judge_series(series(tmp_path, CELLS), {})
    (found,) = findings(verdict["table"], ["server.cpu"])
    assert (found["best"], found["no_difference"], found["last"]) == ("fast", ["same"], "slow")
    assert found["times"] == pytest.approx(10)


@pytest.mark.parametrize(("at_least", "word"), [(9.0, "pass"), (11.0, "fail")])
def test_a_comparison_holds_by_the_ratio_of_medians(tmp_path: Path, at_least: float, word: str) -> None:
    verdict = judge_series(series(tmp_path, CELLS, compare=[compared(at_least)]), {})
    assert verdict["verdict"] == word
    assert verdict["expectations"][-1]["observed"] == pytest.approx(10)


def test_a_cell_with_a_failing_run_fails_the_series(tmp_path: Path) -> None:
    folder = series(tmp_path, CELLS)
    (folder / "cells/same-2/verdict.json").unlink()
    for path in sorted((folder / "cells/same-2").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run(folder / "cells/same-2", 12, verdict="fail")
    verdict = judge_series(folder, {})
    assert verdict["verdict"] == "fail"
    assert "fleet.opened" in next(e["evidence"] for e in verdict["expectations"] if e["verdict"] == "fail")


def test_what_was_left_out_is_named_and_what_needs_it_is_unknown(tmp_path: Path) -> None:
    folder = series(tmp_path, CELLS, compare=[compared(2.0)])
    whole = json.loads((folder / "series.json").read_text())
    whole["cells"][2] |= {"left_out": "the kernel lacks it", "runs": []}
    (folder / "series.json").write_text(json.dumps(whole))
    verdict = judge_series(folder, {})
    assert verdict["left_out"] == {"slow": "the kernel lacks it"}
    assert (verdict["verdict"], verdict["machine_lacks"]) == ("unknown", True)
    assert verdict["expectations"][-1]["evidence"] == "no number from slow"


def test_the_summary_shows_the_table_and_says_no_difference(tmp_path: Path) -> None:
    folder = series(tmp_path, CELLS, compare=[compared(2.0)])
    (folder / "verdict.json").write_text(json.dumps(judge_series(folder, {})))
    text = series_text(folder)
    assert text.startswith("PASS  made: Made")
    assert "best fast; no difference: same; last slow, 10 times" in text
    assert "3 repeats: 75%" in text
    assert max(map(len, text.splitlines())) <= 120


def test_what_some_cells_alone_must_show_stands_in_the_series_verdict_and_summary(tmp_path: Path) -> None:
    folder = series(tmp_path, CELLS)
    for number, (observed, word) in enumerate(((7, "pass"), (9, "fail"), (8, "pass")), 1):
        path = folder / f"cells/slow-{number}/verdict.json"
        judged = json.loads(path.read_text())
        row = {"what": "span", "at": "server", "expected": "<= 8 ns", "unit": "ns", "because": "it is slow"}
        judged["verdict"] = word
        judged["expectations"].append({**row, "observed": observed, "verdict": word, "evidence": "here"})
        path.write_text(json.dumps(judged))
    verdict = judge_series(folder, {})
    (row,) = [one for one in verdict["expectations"] if one["what"].startswith("slow: ")]
    assert (row["what"], row["observed"], row["verdict"]) == ("slow: span", 9, "fail"), "the worst run is told"
    (folder / "verdict.json").write_text(json.dumps(verdict))
    text = series_text(folder)
    assert "FAIL  slow: span <= 8 ns, observed 9 ns (it is slow)" in text
    assert "evidence: cells/slow-2: span <= 8 ns, observed 9 ns" in text
