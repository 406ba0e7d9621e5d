"""Packets of a capture one by one: a list of them, a line each, or one taken apart layer by layer.

In: a capture as it is looked into (`captured.py`). Out: plain data, and the same as text. The packet's bytes come from
the capture file, what the analysis made of it from the tables.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from lab import units
from lab.analysis.capture_file import RawPacket, raw_packets
from lab.captured import Captured, Wanted, problem
from lab.errors import CaptureFileBroken
from lab.report.packet_list import between, lines, what, with_frames

WIDTH = 100
WIDEST = 140


def tell_packet(captured: Captured, number: int) -> tuple[dict[str, Any], str]:
    """Take one packet apart. Raises ScenarioInvalid where there is none of that number."""
    from lab.layers import Context
    from lab.layers.dissect import dissect
    from lab.layers.draw import draw

    rows = with_frames(captured.first_packets(pl.col("index") == number, 1)[0], captured.frames())
    raw = _raw_packet(captured, number)
    if not rows or raw is None:
        count = captured.first_packets(pl.lit(True), 0)[1]
        have = f"there are {units.show_count(count)}, numbered from 0" if count else "there is none"
        raise problem(captured.name, f"no packet {number}; {have}", "`--packets` lists them")
    (row,) = rows
    packet = dissect(raw, Context(names=captured.names, row=row))
    source, target = between(row, captured.names)
    title = f"Packet {number} at {captured.name}: {source} to {target}, {what(row, captured.names)}"
    width, color = terminal()
    return {**packet.to_json(), "packet": row}, rendered(draw(packet, title, width=width), color=color)


def tell_packets(captured: Captured, wanted: Wanted, command: str) -> tuple[list[dict[str, Any]], str]:
    """List the first packets of all, or of the connections that are wanted, as many as the limit says.

    `command` is what a user types before options.
    """
    condition = pl.lit(True)
    if wanted.connection is not None:
        condition = pl.col("connection") == captured.connection(wanted.connection)["id"]
    elif wanted.where is not None:
        condition = pl.col("connection").is_in(captured.matching(wanted.where)["id"].to_list())
    first, count = captured.first_packets(condition, wanted.limit)
    shown = with_frames(first, captured.frames())
    text = [f"{units.show_count(count)} packet{'' if count == 1 else 's'} at {captured.name}"]
    text += lines(shown, captured.names, width=terminal()[0])
    if len(shown) < count:
        text.append(f"{units.show_count(count - len(shown))} more: `--limit {count}` shows them")
    if shown:
        text.append(f"Take one apart: `{command} --packet {shown[0]['index']}`")
    return shown, "\n".join(text)


def _raw_packet(captured: Captured, number: int) -> RawPacket | None:
    """Read one packet from the file; the damage of a broken file is told elsewhere."""
    try:
        return next(raw_packets(captured.file, np.array([number])), None)
    except CaptureFileBroken:
        return None


def terminal() -> tuple[int, bool]:
    """Return how wide lines may be on standard output, and whether it shows colours."""
    console = Console()
    width = min(console.width, WIDEST) if console.is_terminal else WIDTH
    return width, console.is_terminal and console.color_system is not None


def rendered(drawn: Iterable[Text], *, color: bool) -> str:
    """Return lines as text, with colours or without; no line is folded."""
    out = io.StringIO()
    console = Console(
        file=out, width=1000, force_terminal=color, color_system="standard" if color else None, highlight=False
    )
    for line in drawn:
        console.print(line, soft_wrap=True)
    return out.getvalue().rstrip("\n")
