"""A packet taken apart, as text: what each layer takes, every field of every header, and the bytes with their layers.

In: a `Packet` of plain values. Out: lines for a terminal. Colour tells the layers apart; without it a letter beside
each byte does, so nothing is lost.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from lab.layers import Layer, Packet

STYLES = ("cyan", "green", "yellow", "magenta", "bright_blue", "bright_red")
BYTES_A_LINE = 16
CARRIERS = ("Ethernet", "Linux cooked", "VLAN tag", "IPv4", "IPv6", "TCP", "UDP")
"""Layers that are there for what is above them."""
NOBODYS = ("trailer", "not captured")
ROOMY = 94
"""Narrower terminals get half as many."""
NARROWEST_MEANING = 24


def draw(packet: Packet, title: str, *, width: int) -> Iterator[Text]:
    """Yield the lines of a packet; `title` says which it is."""
    styles = {id(layer): STYLES[number % len(STYLES)] for number, layer in enumerate(packet.layers)}
    yield Text(title, style="bold")
    yield Text(f"  {when(packet.t_ns)}, {_bytes(packet.original_bytes)} on the wire")
    yield Text()
    yield from _shares(packet, styles)
    for layer in packet.layers:
        if layer.fields:
            yield Text()
            yield from _header(layer, styles[id(layer)], width)
    yield Text()
    yield from _dump(packet, styles, BYTES_A_LINE if width >= ROOMY else BYTES_A_LINE // 2)


def when(t_ns: int) -> str:
    """The time of a packet, to the nanosecond."""
    seconds, rest = divmod(t_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%d %H:%M:%S')}.{rest:09} UTC"


def _bytes(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"


def _shares(packet: Packet, styles: Mapping[int, str]) -> Iterator[Text]:
    """A line a layer: its bytes, and what they buy; then the sum."""
    width = max(len(layer.name) for layer in packet.layers) if packet.layers else 0
    yield Text(f"  {'Layer':<{width}}  bytes  share  what it adds", style="bold")
    for layer in packet.layers:
        share = f"{100 * layer.size / packet.original_bytes:.0f} %"
        yield Text.assemble(
            "  ", (f"{layer.name:<{width}}", styles[id(layer)]), f"  {layer.size:5}  {share:>5}  {layer.adds}".rstrip()
        )
    yield Text(f"  {' + '.join(str(layer.size) for layer in packet.layers)} = {_bytes(packet.original_bytes)}")
    carried = [layer for layer in packet.layers if layer.name not in (*CARRIERS, *NOBODYS)]
    headers = sum(layer.size for layer in packet.layers if layer.name in CARRIERS)
    if carried and headers:
        names = " and ".join(dict.fromkeys(layer.name for layer in carried))
        yield Text(f"  {_bytes(headers)} of headers for {_bytes(sum(layer.size for layer in carried))} of {names}")


def _header(layer: Layer, style: str, width: int) -> Iterator[Text]:
    """A layer's fields, a line each: place, size, name, value, meaning."""
    span = f"byte {layer.at}" if layer.size == 1 else f"bytes {layer.at} to {layer.at + layer.size - 1}"
    source = f" ({layer.source})" if layer.source else ""
    yield Text.assemble((layer.name, f"bold {style}"), f": {span}{source}")
    cells = [(field.place, field.size, field.name, field.value, field.meaning) for field in layer.fields]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for place, size, name, value, meaning in cells:
        head = f"  {place:<{widths[0]}}  {size:<{widths[1]}}  {name:<{widths[2]}}  {value:<{widths[3]}}  "
        first, *more = textwrap.wrap(meaning, max(width - len(head), NARROWEST_MEANING)) or [""]
        yield Text(f"{head}{first}".rstrip())
        for line in more:
            yield Text(" " * len(head) + line)


def _dump(packet: Packet, styles: Mapping[int, str], a_line: int) -> Iterator[Text]:
    """The bytes in hexadecimal and as characters, so many a line, each with its layer."""
    marks = _marks(packet.layers)
    owners = [layer for layer in packet.layers for _ in range(layer.size)][: len(packet.data)]
    legend = ", ".join(f"{marks[id(layer)]} {layer.name}" for layer in packet.layers if layer.name != "not captured")
    yield Text(f"Bytes ({legend})", style="bold")
    for start in range(0, len(packet.data), a_line):
        row = list(zip(packet.data[start : start + a_line], owners[start : start + a_line], strict=False))
        line = Text(f"  {start:5}  ")
        for place in range(a_line):
            gap = "  " if place == a_line // 2 - 1 else " "
            if place < len(row):
                line.append(f"{row[place][0]:02x}", styles[id(row[place][1])])
            else:
                line.append("  ")
            line.append(gap)
        line.append(" ")
        for byte, layer in row:
            line.append(chr(byte) if 32 <= byte < 127 else ".", styles[id(layer)])
        line.append(" " * (a_line - len(row) + 2))
        for _byte, layer in row:
            line.append(marks[id(layer)], styles[id(layer)])
        yield line


def _marks(layers: Sequence[Layer]) -> dict[int, str]:
    """A letter for each layer: one of its name that no other has, or else a digit."""
    marks: dict[int, str] = {}
    for number, layer in enumerate(layers):
        letters = [letter for letter in layer.name.upper() if letter.isalpha()]
        free = [letter for letter in letters if letter not in marks.values()]
        marks[id(layer)] = free[0] if free else str(number % 10)
    return marks
