"""One stream on a ruler: its messages, send calls, segments and recv calls one above the other, joins and cuts marked.

    stream 0: client:40001 -> server:9000, 5 messages, 500 bytes
    offset    0        100      200      300      400      500
    messages  |── #0 ──|── #1 ──|── #2 ──|── #3 ──|── #4 ──|
    sends     |── 100 ─|── 100 ─|── 100 ─|── 100 ─|── 100 ─|
    segments  |── 100 ─|══════════ 400 coalesced ══════════|
    recvs     |── 100 ─|══════════ 400 coalesced ══════════|

In: rows of the tables `messages` and `units`. Out: lines (`draw`), or an SVG (`draw_svg`). Every offset at which
anything begins or ends gets a column; columns are equally wide, for a cut after 7 bytes tells as much as one after
1,448. What does not fit in one band of the ruler goes on in the next; a long stream is drawn from its start, and the
rest counted. A row of which nothing is known is left out.

Of UDP the axis is what was sent: a datagram that no recv brought is drawn as lost, one that came twice says so, and a
line below tells in which order they came where that is another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lab.report import svg

ROWS = ("messages", "sends", "segments", "recvs")
LINES = {"aligned": "─", "coalesced": "═", "split": "╌", "coalesced+split": "≈", "lost": "×"}
HUES = {"aligned": "green", "coalesced": "orange", "split": "violet", "coalesced+split": "red", "lost": "grey"}
CLASSES = ("aligned", "coalesced", "split", "coalesced+split")
LEGEND = "─ aligned  ═ coalesced (粘包)  ╌ split (半包)  ≈ both  × lost  · no class"
MOST_NAMED = 24
"""Datagrams named in the order they came."""
MOST_BANDS = 3
_COLUMN = 9
_HEADING = 10
_CELL, _ROW, _LEFT, _MARGIN = 74, 34, 96, 16
"""Pixels."""
MOST_CELLS = 30
"""Columns of an SVG."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One interval in one row of the ruler."""

    start: int
    end: int
    kind: str
    """`aligned`, `coalesced`, `split`, `coalesced+split`, `lost`; empty: none is known."""
    name: str


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """One stream, ready to be drawn."""

    title: str
    offsets: list[int]
    """Where anything begins or ends, ascending."""
    rows: dict[str, list[Bar]]
    """Those of which anything is known."""
    note: str | None = None
    """A line below: the order in which datagrams came, where it is not the one they were sent in."""


def ruler(messages: pl.DataFrame, units: pl.DataFrame, stream: int) -> Ruler:
    """Lay one stream out."""
    told = messages.filter(pl.col("stream") == stream).sort("message").to_dicts()
    parts = units.filter(pl.col("stream") == stream).sort("number").to_dicts()
    rows = {"messages": [_bar(one, "aligned", f"#{one['message']}") for one in told]}
    for name in ROWS[1:]:
        mine = [one for one in parts if one["unit"] == name[:-1]]
        rows[name] = [_bar(one, one["class"] or "", str(one["end"] - one["start"])) for one in mine]
    first = (told or parts)[0]
    note = None
    if first["protocol"] == "udp":
        rows["recvs"] = _datagrams_got(rows["recvs"], told)
        came = [one["first_message"] for one in parts if one["unit"] == "recv" and one["first_message"] is not None]
        if came != sorted(set(came)):
            more = f" and {len(came) - MOST_NAMED} more" if len(came) > MOST_NAMED else ""
            note = "came in the order " + " ".join(f"#{number}" for number in came[:MOST_NAMED]) + more
    rows = {name: bars for name, bars in rows.items() if bars}
    offsets = sorted({edge for bars in rows.values() for bar in bars for edge in (bar.start, bar.end)})
    ends = f"{first['sender']}:{first['sender_port']} -> {first['receiver'] or '?'}:{first['receiver_port']}"
    size = offsets[-1] if offsets else 0
    title = f"stream {stream}: {ends} ({first['protocol']}), {len(told):,} messages, {size:,} bytes"
    return Ruler(title=title, offsets=offsets, rows=rows, note=note)


def _datagrams_got(bars: Sequence[Bar], messages: Sequence[Row]) -> list[Bar]:
    """One bar a datagram: what a recv brought of it, how often it came, or that it was lost."""
    by_start = {bar.start: bar for bar in bars}
    got = []
    for one in messages:
        bar = by_start.get(one["start"])
        if bar is None and one["recvs"] == 0:
            bar = _bar(one, "lost", "lost")
        if bar is not None:
            name = f"{bar.name} x{one['recvs']}" if (one["recvs"] or 0) > 1 else bar.name
            got.append(Bar(start=bar.start, end=bar.end, kind=bar.kind, name=name))
    return got


def _bar(one: Row, kind: str, name: str) -> Bar:
    return Bar(start=one["start"], end=one["end"], kind=kind, name=name)


def draw(laid: Ruler, *, width: int = 100) -> list[str]:
    """Draw as lines of at most `width` columns."""
    lines = [laid.title]
    cells = max((width - _HEADING - 8) // _COLUMN, 1)
    for band in range(MOST_BANDS):
        offsets = laid.offsets[band * cells : (band + 1) * cells + 1]
        if len(offsets) < 2:
            break
        scale = "".join(str(offset).ljust(_COLUMN) for offset in offsets)
        lines.append(f"{'offset':<{_HEADING}}{scale}".rstrip())
        lines += [f"{name:<{_HEADING}}{_line(bars, offsets)}".rstrip() for name, bars in laid.rows.items()]
    drawn = min(MOST_BANDS * cells, len(laid.offsets) - 1)
    if drawn < len(laid.offsets) - 1:
        lines.append(f"... and {laid.offsets[-1] - laid.offsets[drawn]:,} bytes more")
    return [*lines, laid.note] if laid.note else lines


def _line(bars: Sequence[Bar], offsets: Sequence[int]) -> str:
    """One row of one band."""
    cells = [" "] * ((len(offsets) - 1) * _COLUMN + 1)
    for bar in bars:
        start, end = max(bar.start, offsets[0]), min(bar.end, offsets[-1])
        if end <= start:
            continue
        left, right = ((bisect_right(offsets, edge) - 1) * _COLUMN for edge in (start, end))
        room = right - left - 1
        texts = (f" {bar.name} {bar.kind} ", f" {bar.name} ", bar.name)
        wanted = texts[0] if bar.kind not in ("", "aligned", "lost") else texts[1]
        text = next((text for text in (wanted, *texts[1:]) if len(text) <= room), "")
        cells[left + 1 : right] = text.center(room, LINES.get(bar.kind, "·"))
        cells[left] = "|" if bar.start == start else "<"
        cells[right] = "|" if bar.end == end else ">"
    return "".join(cells)


def draw_svg(laid: Ruler) -> str:
    """Draw as an SVG: one band, at most `MOST_CELLS` columns."""
    offsets = laid.offsets[: MOST_CELLS + 1]
    places = {offset: _LEFT + number * _CELL for number, offset in enumerate(offsets)}
    bottom = 62 + _ROW * len(laid.rows)
    content = [svg.text(_MARGIN, 24, laid.title, "strong")]
    for offset, x in places.items():
        content.append(svg.element("path", d=f"M{x},54 V{bottom}", class_="faint-line"))
        content.append(svg.text(x, 48, f"{offset}", "mono soft small", "middle"))
    for number, (name, bars) in enumerate(laid.rows.items()):
        y = 62 + number * _ROW
        content.append(svg.text(_MARGIN, y + 16, name, "soft"))
        for bar in bars:
            content += _box(bar, places, offsets, y)
    legend_x = float(_LEFT)
    for kind, hue in HUES.items():
        if not any(bar.kind == kind for bars in laid.rows.values() for bar in bars):
            continue
        content.append(svg.text(legend_x, bottom + 22, kind, f"{hue} fill small strong"))
        legend_x += 12 + 8 * len(kind)
    rest = laid.offsets[-1] - offsets[-1] if offsets else 0
    if rest:
        content.append(svg.text(legend_x + 20, bottom + 22, f"and {rest:,} bytes more", "soft small"))
    width = max(_LEFT + _CELL * max(len(offsets) - 1, 1) + 3 * _MARGIN, 640)
    if laid.note:
        content.append(svg.text(_LEFT, bottom + 44, laid.note, "soft small"))
        bottom += 22
    joined = {name: sum("coalesced" in bar.kind for bar in bars) for name, bars in laid.rows.items()}
    summary = ", ".join(f"{count} of {len(laid.rows[name])} {name} coalesced" for name, count in joined.items())
    return svg.drawing("".join(content), width, bottom + 40, title=laid.title, summary=summary)


def _box(bar: Bar, places: Mapping[int, float], offsets: Sequence[int], y: float) -> list[str]:
    start, end = bar.start, min(bar.end, offsets[-1])
    if end <= start:
        return []
    left, right = places[start] + 2, places[end] - 2
    hue = HUES.get(bar.kind, "grey")
    paper = svg.element("path", d=f"M{left},{y} H{right} v{_ROW - 10} H{left} z", class_="paper")  # over the grid
    box = svg.element(
        "rect", x=left, y=y, width=right - left, height=_ROW - 10, rx=3, class_=f"{hue} stroke tint", stroke_width=1.2
    )
    return [paper, box, svg.text((left + right) / 2, y + 16, bar.name, "mono", "middle")]


def table_lines(messages: pl.DataFrame) -> list[str]:
    """Return the 4x4 table, messages by class on the wire and at the receiver, with causes; empty where neither is
    known."""
    kinds = CLASSES
    both = messages.filter(pl.col("segment_class").is_not_null() & pl.col("recv_class").is_not_null())
    lines = []
    if both.height:
        lines.append("messages by class on the wire (rows) and at recv (columns)")
        lines.append(" " * 17 + "".join(f"{kind:>17}" for kind in kinds))
        for wire in kinds:
            counts = [
                both.filter((pl.col("segment_class") == wire) & (pl.col("recv_class") == seen)).height for seen in kinds
            ]
            lines.append(f"  {wire:<15}" + "".join(f"{count:>17,}" for count in counts))
    for column, said in (("recv_joined_by", "came joined, by"), ("recv_split_by", "came cut, by")):
        causes = messages[column].drop_nulls().value_counts(sort=True).rows()
        if causes:
            lines.append(f"{said}: " + ", ".join(f"{cause} {count:,}" for cause, count in causes))
    misread = messages.filter(~pl.col("taken_whole")).height
    known = messages["taken_whole"].drop_nulls().len()
    if known:
        lines.append(f"misread by the receiver: {misread:,} of {known:,}")
    return lines
