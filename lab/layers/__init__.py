"""One packet taken apart: its layers, each with its header's fields, where they stand, and what they mean.

    RawPacket --dissect.py (scapy)--> Packet: layers, fields --draw.py--> text for a terminal

A network sends what a program says in envelopes: HTTP in TCP, TCP in IP, IP in Ethernet. Each layer puts a header
before what it carries, and none reads what it carries. Bytes are counted from the start of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a header."""

    name: str
    at: int
    """Its first byte."""
    bit: int = 0
    """Its first bit in that byte, from the left; 0 where it begins with a byte."""
    bits: int
    """Its size."""
    value: str
    """As people write it: `10.0.0.1`, `0x0800`, `SA`."""
    meaning: str = ""
    """What the value says; empty where it says all itself."""

    @property
    def place(self) -> str:
        """`14`, `14.4`, `26-29`."""
        if self.bits % 8 or self.bit:
            return f"{self.at}.{self.bit}"
        return f"{self.at}" if self.bits <= 8 else f"{self.at}-{self.at + self.bits // 8 - 1}"

    @property
    def size(self) -> str:
        """`2 bytes`, `4 bits`."""
        number, unit = (self.bits, "bit") if self.bits % 8 or self.bit else (self.bits // 8, "byte")
        return f"{number} {unit}{'' if number == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a packet: a header, or what the innermost header carries."""

    name: str
    """`Ethernet`, `IPv4`, `TCP`, `HTTP`."""
    at: int
    """Its first byte."""
    size: int
    """Bytes of its own."""
    adds: str = ""
    """What it is there for."""
    source: str = ""
    """Where it is defined: `RFC 791`."""
    header: bool = True
    """False for content: what a program says, padding."""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One packet, taken apart."""

    index: int
    t_ns: int
    """Since 1970."""
    data: bytes
    """What was captured."""
    original_bytes: int
    """What was on the wire."""
    layers: tuple[Layer, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; the bytes as hexadecimal text."""
        layers = [
            {
                "name": layer.name,
                "at": layer.at,
                "bytes": layer.size,
                "adds": layer.adds,
                "fields": [
                    {"name": f.name, "at": f.at, "bit": f.bit, "bits": f.bits, "value": f.value, "meaning": f.meaning}
                    for f in layer.fields
                ],
            }
            for layer in self.layers
        ]
        return {
            "index": self.index,
            "t_ns": self.t_ns,
            "original_bytes": self.original_bytes,
            "data": self.data.hex(),
            "layers": layers,
        }


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known of a packet from elsewhere, so that its numbers can be told in words."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Who has an IP or Ethernet address: `10.64.0.2` -> `server`."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """Its row of the packets table: relative numbers, the scaled window, what the analysis made of it."""


MOST_SHOWN = 48


def printable(content: bytes) -> str:
    """The start of some bytes as text, a dot for what cannot be printed."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in content[:MOST_SHOWN])
    return text + ("..." if len(content) > MOST_SHOWN else "")
