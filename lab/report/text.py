"""The summary of a run for the terminal and `summary.txt`: verdict, what happened, what the capture shows.

In: a run folder. Out: something rich can print (`summary`), or the same as plain text (`summary_text`). Colour stands
on the verdict words alone; without it nothing is lost.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab import measures
from lab.report import ladder, packet_list, story
from lab.report.phases import HEADINGS, phases
from lab.report.run_files import RunFiles
from lab.units import show_value

WIDTH = 100
MOST_PACKETS = 16
"""Packets shown one by one."""
STYLES = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow"}


def summary(run_folder: Path, *, width: int = WIDTH) -> RenderableType:
    """Return the summary of a run, laid out for `width` columns."""
    run = RunFiles.read(run_folder)
    parts: list[RenderableType] = [*_head(run, width)]
    parts += _section("What happened", story.happened(run), width)
    parts += _phases(run)
    parts += _section("What the capture shows", story.captured(run), width)
    parts += _ladder(run, width)
    parts += _expectations(run, width)
    parts += _section("Where the time went", [story.stages(run)], width)
    parts += _next(run, width)
    if run.missing:
        parts += _section(
            "Missing", [f"{len(run.missing)} of what a whole run leaves: {'; '.join(run.missing)}."], width
        )
    return Group(*parts)


def summary_text(run_folder: Path) -> str:
    """Return the summary as plain text, `WIDTH` columns wide, for `summary.txt`."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False, force_terminal=False)
    console.print(summary(run_folder, width=WIDTH))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _line(text: str, style: str = "") -> Text:
    """A line that is never folded: a command must stay whole to be copied."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _wrapped(sentence: str, width: int) -> Text:
    return _line(textwrap.fill(sentence, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))


def _section(title: str, sentences: Iterable[str], width: int) -> Iterator[Text]:
    yield _line("")
    yield _line(title, "bold")
    for sentence in sentences:
        yield _wrapped(sentence, width)


def _verdict(word: str) -> Text:
    return Text(word.upper(), style=STYLES.get(word, ""))


def _head(run: RunFiles, width: int) -> Iterator[RenderableType]:
    word = story.verdict_word(run)
    yield Text.assemble(_verdict(word), "  ", (story.headline(run), "bold"))
    yield _wrapped(f"{story.held(run)} {story.identity(run)}", width)
    if (worth := story.worth(run)) is not None:
        yield _wrapped(worth, width)


def _phases(run: RunFiles) -> Iterator[RenderableType]:
    rows = phases(run)
    if not rows:
        return
    yield _line("")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, width=None)
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number in (0, 2) else "right", header_style="bold")
    for row in rows:
        phase, *cells = row.cells()
        table.add_row(f"  {phase}", *cells)
    yield table


def _ladder(run: RunFiles, width: int) -> Iterator[Text]:
    example = run.example()
    if example is None:
        yield from _packets(run, width)
        return
    yield _line("")
    yield _line("One connection as a ladder", "bold")
    yield _wrapped(f"Seen at {example.host}, {example.typical.caption}.", width)
    for line in ladder.draw(example.steps, example.orig, example.resp, width=width, most_steps=12):
        yield _line(line)


def _packets(run: RunFiles, width: int) -> Iterator[Text]:
    """Show the first packets, where there is no connection to draw."""
    host, rows, count = run.first_packets(MOST_PACKETS)
    if not rows:
        return
    yield _line("")
    yield _line("Packet by packet", "bold")
    left = f", the first {len(rows)} of {story.plural(count, 'packet')}" if count > len(rows) else ""
    yield _wrapped(f"Seen at {host}{left}.", width)
    for line in packet_list.lines(rows, run.names, width=width):
        yield _line(line)


def _expectations(run: RunFiles, width: int) -> Iterator[RenderableType]:
    rows: list[dict[str, Any]] = run.verdict.get("expectations", [])
    if not rows:
        return
    yield _line("")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, width=None)
    for heading, justify in (("Expectations", "left"), ("expected", "right"), ("observed", "right"), ("", "left")):
        table.add_column(heading, justify=justify, header_style="bold", overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            f"  {name(row)}",
            row.get("expected") or story.NOT_RECORDED,
            observed(row),
            _verdict(str(row.get("verdict"))),
        )
    yield table
    for row in rows:
        if row.get("verdict") != "pass":
            yield _wrapped(
                f"{name(row)}: {row.get('verdict')}. Evidence: {row.get('evidence') or story.NOT_RECORDED}.", width
            )


def name(row: dict[str, Any]) -> str:
    """An expectation's measure, with the host asked where that makes a difference."""
    what = str(row.get("what") or "query")
    measure = measures.find(what)
    asks_host = measure is not None and measure.source in (
        "capture",
        "packets",
        "frames",
        "contents",
        "counters",
        "boundaries",
        "datagrams",
    )
    return f"{what} at {row['at']}" if asks_host and row.get("at") else what


def observed(row: dict[str, Any]) -> str:
    """What was observed, in the measure's unit."""
    value = row.get("observed")
    if isinstance(value, int | float):
        return show_value(value, row.get("unit") or "count")
    return story.NOT_RECORDED if value is None else str(value)


def commands(run: RunFiles) -> list[tuple[str, str]]:
    """Return what to run next, each command with what it shows."""
    result = [
        (
            f"lab inspect {run.manifest.get('run', run.folder.name)}",
            "connections, one example of each kind, their ladders",
        ),
        (
            f"lab inspect {run.manifest.get('run', run.folder.name)} --packets",
            "a line a packet; `--packet N` takes one apart",
        ),
    ]
    if any(_of_contents(row) for row in run.manifest.get("expectations") or ()):
        result.append((f"lab inspect {run.manifest['run']} --contents", "what was said, message by message"))
    for path in sorted((run.folder / "captures").glob("*.pcapng"))[:1]:
        result.append((f"tshark -r {run.shown_folder}/captures/{path.name}", f"every packet {path.stem} saw"))
    return result


def _of_contents(expectation: dict[str, Any]) -> bool:
    """Whether what is expected was said: the text of messages, and how many answers differ."""
    return expectation["what"].startswith("answers.") or "contents" in (expectation.get("query") or "")


def _next(run: RunFiles, width: int) -> Iterator[Text]:
    yield _line("")
    yield _line("Look further", "bold")
    yield _line(f"  {run.shown_folder}/")
    for command, meaning in commands(run):
        whole = f"  {command}    # {meaning}"
        yield _line(whole) if len(whole) <= width else Text(f"  {command}", overflow="fold")
