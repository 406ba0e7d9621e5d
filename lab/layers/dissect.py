"""Taking one packet apart with scapy, and finding the bytes that each field was read from.

scapy knows the headers of some hundreds of protocols, and reads each field by field. It does not say where a field
stood; so the fields of every layer are read a second time, one after the other as scapy does, and what each takes off
the front is its place. A layer whose fields do not add up to its header is told without its fields.

What scapy reads as one field although it is a list (TCP options) is split here; what it leaves as bytes and is a text
(HTTP) is told line by line (`http_text.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from lab.layers import scapy_layers  # isort: skip # noqa: F401 - before anything of scapy
from scapy.config import conf
from scapy.data import DLT_EN10MB
from scapy.error import Scapy_Exception
from scapy.packet import NoPayload, Padding, Raw

from lab.analysis.capture_file import RawPacket
from lab.layers import Context, Field, Layer, Packet, printable
from lab.layers.checksums import checksum_meaning
from lab.layers.http_text import http_layers, is_http
from lab.layers.meanings import LAYERS, meaning_of, shown_name
from lab.layers.tcp_options import option_fields

UNREADABLE = (Scapy_Exception, struct.error, ValueError, TypeError, AttributeError, IndexError, KeyError)
"""What reading a field of nonsense may raise."""


def dissect(raw: RawPacket, context: Context) -> Packet:
    """Take a packet apart. What no layer knows is `data`."""
    first = conf.l2types.num2layer.get(raw.interface.linktype, conf.l2types.num2layer[DLT_EN10MB])
    try:
        whole = first(raw.data)
    except UNREADABLE:  # too short for even the first header
        whole = Raw(raw.data)
    layers = _with_missing(tuple(_layers(whole, raw, context)), raw)
    return Packet(index=raw.index, t_ns=raw.t_ns, data=raw.data, original_bytes=raw.original_bytes, layers=layers)


def _layers(whole: Any, raw: RawPacket, context: Context) -> Iterator[Layer]:
    at = 0
    layer = whole
    while not isinstance(layer, NoPayload):
        size = len(layer.raw_packet_cache or b"") or len(layer.original) - len(layer.payload.original)
        content = raw.data[at : at + size]
        if isinstance(layer, Padding):
            yield Layer(name="trailer", at=at, size=size, header=False, adds="fills a frame that is too short")
        elif isinstance(layer, Raw):
            yield from _content(content, at, layer.underlayer)
        elif size:
            name, adds, source = LAYERS.get(type(layer).__name__, (_plain_name(layer), "", ""))
            fields = tuple(_fields(layer, content, at, whole, context))
            yield Layer(name=name, at=at, size=size, adds=adds, source=source, fields=fields)
        at += size
        layer = layer.payload


def _content(content: bytes, at: int, below: Any) -> Iterator[Layer]:
    """What scapy left as bytes."""
    if type(below).__name__ == "TCP" and is_http(content):
        yield from http_layers(content, at)
        return
    whole = Field(name="data", at=at, bits=8 * len(content), value=printable(content))
    adds = "what the program says" if below is not None else ""
    yield Layer(name="data", at=at, size=len(content), header=False, adds=adds, fields=(whole,))


def _with_missing(layers: tuple[Layer, ...], raw: RawPacket) -> tuple[Layer, ...]:
    """Add what the capture cut off as a layer that is known by its size alone."""
    missing = raw.original_bytes - len(raw.data)
    if missing <= 0:
        return layers
    cut = Layer(name="not captured", at=len(raw.data), size=missing, header=False, adds="cut off by the snap length")
    return (*layers, cut)


def _plain_name(layer: Any) -> str:
    return str(layer.name or type(layer).__name__)


def _fields(layer: Any, content: bytes, at: int, whole: Any, context: Context) -> Iterator[Field]:
    """The fields of one header, in order."""
    kind = type(layer).__name__
    for descriptor, start, bits in _places(layer, content):
        if kind.startswith("TCP") and descriptor.name == "options":
            yield from option_fields(content[start // 8 :], at + start // 8)
            continue
        if not bits:
            continue
        value = layer.getfieldval(descriptor.name)
        shown = _shown(descriptor, layer, value)
        if descriptor.name == "chksum":
            meaning = checksum_meaning(whole, layer, content)
        else:
            meaning = meaning_of(kind, descriptor.name, value, layer, context)
        byte, bit = divmod(start, 8)
        name = shown_name(kind, descriptor.name)
        yield Field(name=name, at=at + byte, bit=bit, bits=bits, value=shown, meaning=meaning)


def _places(layer: Any, content: bytes) -> list[tuple[Any, int, int]]:
    """Each field with its first bit and its size in bits; of a header that is not whole, the fields that are."""
    found = []
    rest: Any = content
    try:
        for descriptor in layer.fields_desc:
            before = _bits_left(rest)
            rest, _value = descriptor.getfield(layer, rest)
            found.append((descriptor, 8 * len(content) - before, before - _bits_left(rest)))
    except UNREADABLE:
        return found
    return found if _bits_left(rest) == 0 else []


def _bits_left(rest: Any) -> int:
    """scapy hands on bytes, or inside a byte a pair: bytes and how many bits of the first are taken."""
    return 8 * len(rest[0]) - rest[1] if isinstance(rest, tuple) else 8 * len(rest)


def _shown(descriptor: Any, layer: Any, value: Any) -> str:
    """Write a value as scapy does, numbers that are codes in hexadecimal, a list short."""
    if descriptor.name in ("chksum", "type", "id", "ptype") and isinstance(value, int) and value > 255:
        return f"0x{value:04x}"
    if isinstance(value, int) and not isinstance(value, bool) and descriptor.name not in ("flags",):
        return str(int(value))
    shown = str(descriptor.i2repr(layer, value)) or "none"
    return shown if len(shown) <= 40 else shown[:37] + "..."
