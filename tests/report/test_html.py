"""The HTML report stands alone, says what the summary says, and shows every piece of evidence."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from scripts import write_run

from lab.report import story
from lab.report.html import code, report_html, write_report
from lab.report.run_files import RunFiles

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """The page's text, its elements, and whether each that was opened was closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def test_report_asks_for_nothing_from_elsewhere(run: Path):
    page = report_html(run)
    elements = Page(page).elements
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in elements}
    assert not any({"src", "href"} & set(attributes) for _, attributes in elements)
    assert "url(" not in page
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\"\s<]+", page)) == {"http://www.w3.org/2000/svg"}


def test_report_and_summary_say_the_same_sentences(run: Path):
    files = RunFiles.read(run)
    text = Page(report_html(run)).text
    for sentence in [*story.happened(files), *story.captured(files), story.stages(files), story.held(files)]:
        assert sentence in text


def test_every_expectation_stands_with_its_evidence(run: Path):
    text = Page(report_html(run)).text
    for row in json.loads((run / "verdict.json").read_text())["expectations"]:
        assert row["what"] in text
        assert row["evidence"] in text


def test_charts_and_ladder_are_drawn_inline(run: Path):
    messages = [{"kind": "message", "service_ns": 1000 * n, "response_ns": 1500 * n} for n in range(1, 101)]
    pl.DataFrame(messages).write_parquet(run / "tables" / "latency.parquet")
    page = Page(report_html(run))
    assert sum(tag == "svg" for tag, _ in page.elements) == 4
    for title in ("Latency", "Connections open over time", "Handshake times", "TIME-WAIT"):
        assert title in page.text


def test_counters_that_changed_are_listed_by_host(run: Path):
    readings = [{"counters": {"Tcp.InSegs": 5, "Tcp.OutRsts": 1}}, {"counters": {"Tcp.InSegs": 1205, "Tcp.OutRsts": 1}}]
    (run / "hosts/server/observed.json").write_text(json.dumps({"counters": readings}))
    (run / "hosts/server/host.json").write_text(json.dumps({"counters_first": {"Tcp.InSegs": 5, "Tcp.OutRsts": 1}}))
    text = Page(report_html(run)).text
    assert "What the kernel of server counted (1 counter changed)" in text
    assert "Tcp.InSegs +1,200" in text
    assert "Tcp.OutRsts" not in text


def test_text_from_a_scenario_is_escaped(run: Path):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.update(title="<script>alert(1)</script>", lesson="a < b\n\n`<i>`")
    (run / "manifest.json").write_text(json.dumps(manifest))
    page = Page(report_html(run))
    assert not any(tag in ("script", "i") for tag, _ in page.elements)
    assert "<script>alert(1)</script>" in page.text


def test_backticks_become_code_and_a_lonely_one_stays():
    assert str(code("see `a<b` now")) == "see <code>a&lt;b</code> now"
    assert str(code("a ` b <")) == "a ` b &lt;"


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "verdict.json",
        "tables/connections.parquet",
        "tables/packets.parquet",
        "hosts/server/server.json",
    ],
)
def test_missing_file_is_named_in_the_report(run: Path, name: str):
    (run / name).unlink()
    assert f"<code>{name}" in report_html(run)


def test_empty_folder_gives_a_report_that_proves_nothing(tmp_path: Path):
    text = Page(report_html(tmp_path)).text
    assert "No verdict was reached." in text


def test_report_is_written_whole_and_leaves_nothing_beside_it(run: Path):
    before = set(run.iterdir())
    target = write_report(run)
    assert set(run.iterdir()) - before == {target}
    assert target.read_text(encoding="utf-8").rstrip().endswith("</html>")
