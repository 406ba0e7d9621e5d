"""HTTP/1.1 in a segment, line by line (RFC 9112 2.1): a start line, header lines, an empty line, the body."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.layers import Field, Layer, printable

START = re.compile(rb"(?:[A-Z]{3,10} [^ \r\n]+ HTTP/1\.[01]|HTTP/1\.[01] \d{3}[^\r\n]*)\r\n")
MEANINGS = {
    "host": "which of the server's names is meant: many may share an address",
    "content-length": "bytes of the body: where this message ends in the stream",
    "content-type": "what the body is",
    "connection": "whether the connection stays open for the next request",
    "user-agent": "the client's program",
    "server": "the server's program",
    "accept": "what the client understands",
}


def is_http(content: bytes) -> bool:
    """Whether a segment's data begin with a request or a response."""
    return START.match(content) is not None


def http_layers(content: bytes, at: int) -> Iterator[Layer]:
    """The head as a layer with a field a line, and the body, if the segment has some of it, as data."""
    end = content.find(b"\r\n\r\n")
    head = len(content) if end < 0 else end + 4
    fields = []
    place = 0
    for number, line in enumerate(content[:head].split(b"\r\n")[:-1]):
        size = len(line) + 2
        fields.append(_line(number, line.decode("latin-1"), at + place, size))
        place += size
    yield Layer(
        name="HTTP",
        at=at,
        size=head,
        adds="what is asked for or answered, and how long the body is",
        source="RFC 9112",
        fields=tuple(fields),
    )
    body = content[head:]
    if body:
        whole = Field(name="body", at=at + head, bits=8 * len(body), value=printable(body))
        yield Layer(name="body", at=at + head, size=len(body), header=False, adds="what it is all for", fields=(whole,))


def _line(number: int, line: str, at: int, size: int) -> Field:
    bits = 8 * size
    if not line:
        return Field(name="empty line", at=at, bits=bits, value="", meaning="the head ends, the body begins")
    if number == 0:
        words = line.split(" ", 2)
        if line.startswith("HTTP/"):
            meaning = f"version, status {words[1]}, the same in words"
            return Field(name="status line", at=at, bits=bits, value=line, meaning=meaning)
        return Field(name="request line", at=at, bits=bits, value=line, meaning="method, target, version")
    name, _, value = line.partition(":")
    return Field(name=name, at=at, bits=bits, value=value.strip(), meaning=MEANINGS.get(name.lower(), ""))
