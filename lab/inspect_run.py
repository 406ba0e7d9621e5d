"""Look into a run's captures: the kinds of connections with an example of each, or one connection as a ladder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from lab import units
from lab.errors import Problem, ScenarioInvalid
from lab.report.ladder import draw
from lab.report.run_files import RunFiles
from lab.report.steps import steps

KIND = ("handshake", "handshake_reason", "teardown", "reset", "history")


def inspect_run(
    folder: Path, *, connection: int | None, host: str | None, where: str | None, limit: int
) -> tuple[Any, str]:
    """Return the same findings as plain data and as text. Raises ScenarioInvalid for what is not there."""
    table = folder / "tables" / "connections.parquet"
    if not table.exists():
        raise _problem(table, "the run has no tables", "make them with `lab report RUN --again`")
    everything = pl.read_parquet(table)
    vantages = everything["host"].unique(maintain_order=True).to_list()
    if host is None:
        server = json.loads((folder / "manifest.json").read_text())["server_host"]
        host = server if server in vantages else vantages[0] if vantages else ""
    if host not in vantages:
        raise _problem(table, f"no capture of host {host!r}; captured: {', '.join(vantages) or 'none'}")
    rows = everything.filter(pl.col("host") == host)
    if where is not None:
        try:
            rows = rows.filter(pl.sql_expr(where))
        except pl.exceptions.PolarsError as error:
            raise _problem(table, f"--where: {error}; columns: {', '.join(rows.columns)}") from error
    if connection is not None:
        return _one(folder, rows, connection, host)
    if where is not None:
        shown = rows.head(limit)
        return rows.to_dicts(), f"{_table(shown)}\n{shown.height} of {rows.height} connections"
    return _kinds(rows, host, limit)


def _problem(file: Path, what: str, hint: str | None = None) -> ScenarioInvalid:
    return ScenarioInvalid(Problem(file=str(file), line=1, key="", what=what, hint=hint))


def _one(folder: Path, rows: pl.DataFrame, connection: int, host: str) -> tuple[Any, str]:
    found = rows.filter(pl.col("id") == connection)
    if found.is_empty():
        what = f"no connection {connection} at {host}; there are {rows.height}, numbered from {rows['id'].min()}"
        raise _problem(folder / "tables" / "connections.parquet", what)
    row = found.to_dicts()[0]
    packets = (
        pl.scan_parquet(folder / "tables" / "packets.parquet")
        .filter((pl.col("host") == host) & (pl.col("connection") == connection))
        .collect()
    )
    orig, resp = RunFiles.read(folder).endpoints(row)
    text = "\n".join(draw(steps(packets, connection, row), orig, resp))
    return {"connection": row, "packets": packets.to_dicts()}, text


def _kinds(rows: pl.DataFrame, host: str, limit: int) -> tuple[Any, str]:
    kinds = (
        rows.group_by(KIND)
        .agg(pl.len().alias("connections"), pl.col("id").min().alias("example"))
        .sort("connections", descending=True)
    )
    lines = [f"{units.show_count(rows.height)} connections at {host}, by kind (an example of each in the last column)"]
    lines.append(_table(kinds.head(limit)))
    if kinds.height:
        lines.append(f"Draw one: `lab inspect RUN --connection {kinds['example'][0]}`")
    return kinds.to_dicts(), "\n".join(lines)


def _table(frame: pl.DataFrame) -> str:
    """Return rows as aligned text; null is a dash."""
    cells = [frame.columns] + [["-" if value is None else str(value) for value in row] for row in frame.rows()]
    widths = [max(len(row[index]) for row in cells) for index in range(len(frame.columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
