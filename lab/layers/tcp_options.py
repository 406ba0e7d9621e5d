"""TCP options one by one (RFC 9293 3.2): a kind, a length, and what it says; padding is a kind without a length."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lab.layers import Field

END, NOTHING = 0, 1
KINDS = {
    2: "maximum segment size",
    3: "window scale",
    4: "selective acks permitted",
    5: "selective acks",
    8: "timestamps",
    34: "fast open cookie",
}


def option_fields(options: bytes, at: int) -> Iterator[Field]:
    """The options, whose first byte is byte `at` of the frame; what makes no sense ends them as one field."""
    place = 0
    while place < len(options):
        kind = options[place]
        if kind == END:
            rest = len(options) - place
            yield Field(
                name="option: end", at=at + place, bits=8 * rest, value="0", meaning="fills the last 4 bytes up"
            )
            return
        if kind == NOTHING:
            yield Field(name="option: nothing", at=at + place, bits=8, value="1", meaning="fills up to 4 bytes")
            place += 1
            continue
        size = options[place + 1] if place + 1 < len(options) else 0
        if size < 2 or place + size > len(options):
            yield Field(name="options", at=at + place, bits=8 * (len(options) - place), value="not readable")
            return
        value, meaning = _told(kind, options[place + 2 : place + size])
        name = f"option: {KINDS.get(kind, f'kind {kind}')}"
        yield Field(name=name, at=at + place, bits=8 * size, value=value, meaning=meaning)
        place += size


def _told(kind: int, body: bytes) -> tuple[str, str]:
    """The option's value, and what it says."""
    if kind == 2 and len(body) == 2:
        return str(int.from_bytes(body, "big")), "bytes of data that a segment to the sender may hold"
    if kind == 3 and len(body) == 1:
        return str(body[0]), f"windows of the sender count in units of {1 << min(body[0], 14)} bytes"
    if kind == 4:
        return "yes", "the sender understands reports of what came behind a gap (SACK)"
    if kind == 5 and len(body) % 8 == 0:
        blocks = struct.unpack(f"!{len(body) // 4}I", body)
        edges = ", ".join(f"{left}-{right}" for left, right in zip(blocks[::2], blocks[1::2], strict=True))
        return edges, "came behind a gap"
    if kind == 8 and len(body) == 8:
        value, echo = struct.unpack("!II", body)
        return f"{value}, {echo}", "the sender's clock; the other side's, echoed: round trips are timed by it"
    return body.hex() or "-", ""
