"""The report of a series: one page that needs nothing beside itself, with every cell, its chart and its runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.report.series_charts import series_charts
from lab.report.series_html import write_series_report

NAMES = {"svg": "http://www.w3.org/2000/svg"}
RATE, CPU = "server.load_rate", "server.load_cpu_per_message"


def cell(axes: dict[str, str], rate: float, cpu: float) -> dict[str, Any]:
    def one(value: float) -> dict[str, Any]:
        return {"median": value, "low": value * 0.9, "high": value * 1.1, "confidence": 0.75, "values": [value]}

    name = "-".join(axes.values())
    return {
        "name": name,
        "axes": axes,
        "repeats": 3,
        "runs": [f"cells/{name}-{n}" for n in (1, 2, 3)],
        "verdict": "pass",
        "validity": "valid",
        "columns": {RATE: one(rate), CPU: one(cpu)},
    }


def verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "scenario": "ways",
        "run": "20261128T060000Z-abcdef",
        "engine": "netns",
        "verdict": "pass",
        "expectations": [
            {
                "what": "every run of select",
                "expected": "3 pass",
                "unit": "count",
                "because": None,
                "observed": "3 pass",
                "verdict": "pass",
                "evidence": "cells/select-1",
            }
        ],
        "left_out": {"io-uring": "the kernel refuses <io_uring>"},
        "validity": "valid",
        "columns": [RATE, CPU],
        "table": rows,
        "findings": [],
    }


MODELS = [cell({"server.model": name}, rate, 1e9 / rate) for name, rate in (("select", 20e3), ("epoll", 40e3))]
CROWDS = [
    cell({"server.model": model, "fleet.connections": str(crowd)}, 1e4, 1e4 * cost)
    for model, cost in (("poll", 50), ("epoll", 1))
    for crowd in (100, 10000)
]


@pytest.fixture
def page(tmp_path: Path) -> str:
    folder = tmp_path / "runs" / "ways" / "20261128T060000Z-abcdef"
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(json.dumps(verdict(MODELS)))
    series = {"scenario": "ways", "title": "Two ways to wait", "lesson": "Predict: which?", "repeats": 3}
    (folder / "series.json").write_text(json.dumps(series))
    return write_series_report(folder).read_text()


def drawn_text(drawn: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(drawn).findall(".//svg:text", NAMES)]


def test_every_cell_stands_in_the_table_with_its_numbers_and_links_to_its_runs(page: str):
    assert "<td><code>epoll</code></td>" in page
    assert "40,000/s ±10%" in page
    assert re.findall(r'href="(cells/epoll-\d/report.html)"', page) == [
        f"cells/epoll-{n}/report.html" for n in (1, 2, 3)
    ]


def test_the_page_tells_the_title_the_lesson_and_what_was_left_out_escaped(page: str):
    assert "<h1>ways: Two ways to wait</h1>" in page
    assert "Predict: which?" in page
    assert "the kernel refuses &lt;io_uring&gt;" in page


def test_the_page_loads_nothing_from_elsewhere(page: str):
    assert re.findall(r'(?:src|href)="(?!cells/)', page) == []
    assert "<script" not in page


def test_names_alone_make_one_dot_plot_with_the_best_on_top():
    (drawn,) = series_charts(verdict(MODELS))
    rows = [text for text in drawn_text(drawn) if text in ("select", "epoll")]
    assert rows == ["epoll", "select"]


def test_a_number_among_the_axes_makes_a_chart_a_measure_with_a_line_for_each_of_the_others():
    rate, cpu = series_charts(verdict(CROWDS))
    assert "CPU/request against fleet.connections" in drawn_text(cpu)
    lines = ElementTree.fromstring(rate).findall(".//svg:path[@stroke-linejoin]", NAMES)
    assert len(lines) == 2
    told = ElementTree.fromstring(cpu).findtext("svg:desc", "", NAMES)
    assert told == "at 10,000: most poll, 500 us"


def test_one_cell_alone_has_nothing_to_be_compared_with():
    assert series_charts(verdict(MODELS[:1])) == []
