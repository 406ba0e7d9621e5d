"""Look at what was said on the wire: each message with its time, its connection, its side, and its text.

In: a run folder with captures of whole payloads. Out: plain data, and the same as text.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis.contents import read_contents
from lab.captured import problem
from lab.units import show_count

LONGEST = 80
"""Columns of a line: a longer text is cut, and said to be."""
ARROWS = {"orig": "->", "resp": "<-"}


def inspect_contents(folder: Path, host: str, *, connection: int | None, limit: int) -> tuple[Any, str]:
    """Return the messages that passed `host` as data and as text: all, or those of one connection.

    Raises ScenarioInvalid where the capture holds no message.
    """
    contents = read_contents(folder, [host])
    messages = contents.messages
    if connection is not None:
        messages = messages.filter(pl.col("connection") == connection)
    if messages.is_empty():
        hint = "leave `snaplen` out of `capture` to have packets captured whole" if contents.cut else None
        where = f"captures/{host}.pcapng" + (f", connection {connection}" if connection is not None else "")
        raise problem(str(folder), f"no message in {where}", hint)
    first = messages["t_ns"][0]
    questions = int((messages["direction"] == "orig").sum())
    lines = [
        f"At {host}: {show_count(questions)} questions (->), {show_count(messages.height - questions)} answers (<-), "
        f"{show_count(messages['text'].n_unique())} different texts",
        "",
        f"{'time ms':>9}  connection",
    ]
    lines += [
        f"{(row['t_ns'] - first) / 1e6:9.3f}  {row['connection']:>10} {ARROWS[row['direction']]} {_shown(row['text'])}"
        for row in messages.head(limit).iter_rows(named=True)
    ]
    if messages.height > limit:
        lines += ["", f"{show_count(messages.height - limit)} more: `--limit N`, or `--connection N` for those of one"]
    if contents.cut:
        lines += ["", f"{show_count(contents.cut)} packets were cut by the snaplen: their content is not known"]
    return messages.to_dicts(), "\n".join(lines)


def _shown(text: str) -> str:
    """The text on one line: what a terminal would obey is written out, and what is too long is cut."""
    plain = "".join(
        repr(one)[1:-1] if unicodedata.category(one).startswith("C") else one for one in text[: LONGEST + 1]
    )
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}... ({show_count(len(text))} characters)"
