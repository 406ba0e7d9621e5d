"""Look at a run's message boundaries: every logged stream on a ruler, the 4x4 table, the causes.

In: a run folder whose programs kept boundary logs. Out: plain data, and the same as text; an SVG where one is wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from lab.captured import problem
from lab.report.ruler import LEGEND, draw, draw_svg, ruler, table_lines

MOST_STREAMS = 6
"""Streams drawn where none is chosen."""


def inspect_messages(folder: Path, *, stream: int | None, drawing: Path | None) -> tuple[Any, str]:
    """Return messages and units as data, and the rulers as text. Raises ScenarioInvalid for what is not there."""
    tables = [folder / "tables" / f"{name}.parquet" for name in ("messages", "units")]
    if not all(table.exists() for table in tables):
        raise problem(str(tables[0]), "the run has no such table", "make it with `lab report RUN --again`")
    messages, units = (pl.read_parquet(table) for table in tables)
    streams = messages["stream"].unique().sort().to_list()
    if not streams:
        hint = "scripts always keep one; for a server and a fleet set `boundaries: N` (connections)"
        raise problem(str(tables[0]), "no program kept a boundary log", hint)
    if stream is not None and stream not in streams:
        raise problem("--connection", f"with --messages the number of a stream, 0 to {streams[-1]}, got {stream}")
    chosen = streams[:MOST_STREAMS] if stream is None else [stream]
    lines: list[str] = []
    for number in chosen:
        lines += [*draw(ruler(messages, units, number)), ""]
    if len(chosen) < len(streams) and stream is None:
        lines += [f"{len(streams) - len(chosen)} streams more: `--connection N` draws stream N", ""]
    shown = messages if stream is None else messages.filter(pl.col("stream") == stream)
    lines += [LEGEND, *table_lines(shown)]
    if drawing is not None:
        drawing.write_text(draw_svg(ruler(messages, units, chosen[0])) + "\n")
    of_shown = units if stream is None else units.filter(pl.col("stream") == stream)
    return {"messages": shown.to_dicts(), "units": of_shown.to_dicts()}, "\n".join(lines)
