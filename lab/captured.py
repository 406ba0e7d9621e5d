"""One capture as it is looked into: kinds of its connections, those that a condition chooses, and one of them drawn.

In: tables of the analysis, made just now (`analyze_files.py`) or lying in a run folder (`inspect_run.py`); they come in
parts, so that a capture of any size can be told in bounded memory. Out: plain data, and the same as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab import units
from lab.errors import Problem, ScenarioInvalid
from lab.report.ladder import draw
from lab.report.ladder_svg import draw_svg
from lab.report.steps import Endpoint, steps

KIND = ("handshake", "handshake_reason", "teardown", "reset", "history")
"""What makes two connections of the same kind."""
OVERVIEW = (
    "id", "orig_addr", "orig_port", "resp_addr", "resp_port", "duration_ns", *KIND, "orig_packets", "resp_packets",
    "orig_bytes", "resp_bytes", "orig_retransmissions", "resp_retransmissions",
)  # fmt: skip
"""Of the connections table, what fits a screen; JSON and Parquet have all of it."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user wants to see of a capture."""

    connection: int | None = None
    """Draw this connection."""
    where: str | None = None
    """Only connections for which this SQL condition holds."""
    packet: int | None = None
    """Take this packet apart."""
    packets: bool = False
    """List the packets, of the chosen connections where some are chosen."""
    limit: int = 20
    """Rows to print."""
    svg: Path | None = None
    """Write the drawing of the connection here."""
    pcap: Path | None = None
    """Write the packets of the chosen connections here, as pcapng."""
    scapy: bool = False
    """Open a scapy shell on them."""
    wireshark: bool = False
    """Start Wireshark on them."""

    @property
    def takes_packets(self) -> bool:
        """Whether packets are to be taken out of the capture."""
        return self.pcap is not None or self.scapy or self.wireshark

    def check(self) -> None:
        """Raise ScenarioInvalid for options that contradict one another."""
        chosen = self.connection is not None or self.where is not None
        if self.packet is not None and (chosen or self.packets or self.takes_packets):
            raise problem("--packet", "takes one packet apart: no other choice stands beside it")
        if self.svg is not None and self.connection is None:
            raise problem("--svg", "draws one connection, got none", "add `--connection N`")
        if self.takes_packets and not chosen:
            raise problem(
                "--pcap, --scapy, --wireshark",
                "take the packets of chosen connections, got none chosen",
                "add `--connection N` or `--where SQL`",
            )


@dataclass(frozen=True, kw_only=True)
class Captured:
    """One capture and its tables."""

    name: str
    """As messages call it: a file's path, or the host whose capture it is."""
    file: Path
    connections: Callable[[], Iterator[pl.DataFrame]]
    """Makes the connections table, in parts."""
    packets: Callable[[pl.Expr], Iterator[pl.DataFrame]]
    """Makes those rows of the packets table for which a condition holds, in parts."""
    first_packets: Callable[[pl.Expr, int], tuple[pl.DataFrame, int]]
    """Makes the first so many of them, and counts all."""
    ends: Callable[[Mapping[str, Any]], tuple[Endpoint, Endpoint]]
    """Names both ends of a row of the connections table."""
    frames: Callable[[], pl.DataFrame | None] = lambda: None
    """Makes the frames table; None where there is none."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Who has an IP or Ethernet address."""

    def matching(self, where: str) -> pl.DataFrame:
        """Return the connections for which an SQL condition holds. Raises ScenarioInvalid for a wrong condition."""
        try:
            condition = pl.sql_expr(f"({where})")
            return pl.concat([part.filter(condition) for part in self.connections()])
        except (pl.exceptions.PolarsError, TypeError) as error:
            names = ", ".join(next(self.connections()).columns)
            what = str(error).splitlines()[0].split(";")[0]
            raise problem("--where", f"{what}, got {where!r}", f"the columns: {names}") from error

    def connection(self, number: int) -> dict[str, Any]:
        """Return one connection's row. Raises ScenarioInvalid where there is none of that number."""
        count = 0
        for part in self.connections():
            found = part.filter(pl.col("id") == number)
            if found.height:
                return found.to_dicts()[0]
            count += part.height
        have = f"there are {units.show_count(count)}, numbered from 0" if count else "there is none"
        raise problem(self.name, f"no connection {number}; {have}")

    def packets_of(self, connections: Sequence[int]) -> pl.DataFrame:
        """Return the rows of the packets table that belong to connections, in the order of the file."""
        return pl.concat(list(self.packets(pl.col("connection").is_in(list(connections)))))


def problem(where: str, what: str, hint: str | None = None) -> ScenarioInvalid:
    """Make the error for a wrong wish of the user's."""
    return ScenarioInvalid(Problem(file=where, line=0, key="", what=what, hint=hint))


def tell_one(captured: Captured, wanted: Wanted) -> tuple[dict[str, Any], str, pl.DataFrame]:
    """Tell one connection: its row and packets, its ladder, its rows of the packets table; draw the SVG if wanted."""
    assert wanted.connection is not None
    row = captured.connection(wanted.connection)
    packets = captured.packets_of([wanted.connection])
    walked = steps(packets, wanted.connection, row)
    orig, resp = captured.ends(row)
    if wanted.svg is not None:
        wanted.svg.write_text(draw_svg(walked, orig, resp), encoding="utf-8")
    return {"connection": row, "packets": packets.to_dicts()}, "\n".join(draw(walked, orig, resp)), packets


def tell_matching(captured: Captured, where: str, limit: int) -> tuple[pl.DataFrame, str]:
    """Tell the connections for which a condition holds: all as a table, the first `limit` as text."""
    rows = captured.matching(where)
    shown = rows.head(limit)
    return rows, f"{as_text(shown.select(OVERVIEW))}\n{shown.height} of {rows.height} connections"


def kinds_of(captured: Captured) -> pl.DataFrame:
    """Count the kinds of connections, the most common first, with the first of each as `example`."""
    counted = [
        part.group_by(KIND).agg(pl.len().alias("connections"), pl.col("id").min().alias("example"))
        for part in captured.connections()
    ]
    return (
        pl.concat(counted)
        .group_by(KIND)
        .agg(pl.col("connections").sum(), pl.col("example").min())
        .sort(["connections", "example"], descending=[True, False])
    )


def tell_kinds(captured: Captured, command: str, limit: int) -> tuple[pl.DataFrame, str]:
    """Tell the kinds of connections; `command` is what a user types before `--connection N`."""
    kinds = kinds_of(captured)
    count = int(kinds["connections"].sum())
    if not count:
        return kinds, f"no TCP connection in {captured.name}"
    counted = f"{units.show_count(count)} connection{'s' if count > 1 else ''}"
    lines = [f"{counted} at {captured.name}, by kind (an example of each in the last column)"]
    lines.append(as_text(kinds.head(limit)))
    if kinds.height > limit:
        lines.append(f"{kinds.height - limit} rarer kinds left out: `--limit {kinds.height}` shows them")
    lines.append(f"Draw one: `{command} --connection {kinds['example'][0]}`")
    return kinds, "\n".join(lines)


def as_text(frame: pl.DataFrame) -> str:
    """Return rows as aligned text; null is a dash."""
    cells = [frame.columns] + [["-" if value is None else str(value) for value in row] for row in frame.rows()]
    widths = [max(len(row[index]) for row in cells) for index in range(len(frame.columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def as_json(parts: Iterator[pl.DataFrame]) -> Iterator[str]:
    """Yield a table as the text of a JSON list of objects, row by row in order, in pieces as large as its parts."""
    separator = "["
    for part in parts:
        if part.height:
            yield separator + part.write_json().strip()[1:-1]
            separator = ",\n"
    yield "]" if separator != "[" else "[]"


def print_json(data: object) -> None:
    """Print small data as JSON on standard output."""
    print(json.dumps(data, indent=1, ensure_ascii=False))
