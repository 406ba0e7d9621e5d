"""Thrift's compact protocol, as far as a Parquet file's headers need it: structures written, and a structure split.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Types as the protocol numbers them. A list is (type of its elements, the elements).
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
RAW = 16
"""Not a type of the protocol: a field taken over as it stood, (its type, its bytes)."""
Fields = Sequence[tuple[int, int, Any]]
"""A structure: (number, type, value) of each field, by number."""
STOP = b"\x00"
LONG_LIST = 15
BYTES = [bytes([number]) for number in range(256)]


def varint(number: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first."""
    if number < 128:
        return BYTES[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:
    """One value, without what says its type."""
    if kind in (I16, I32, I64):
        return varint(value << 1 if value >= 0 else ~value << 1 | 1)
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == STRUCT:
        return structure(value)
    element, elements = value
    head = bytes([len(elements) << 4 | element]) if len(elements) < LONG_LIST else bytes([0xF0 | element])
    length = b"" if len(elements) < LONG_LIST else varint(len(elements))
    return head + length + b"".join([_value(element, one) for one in elements])


def structure(fields: Fields) -> bytes:
    """Write a structure; numbers of fields grow by at most 15 from one to the next."""
    out: list[bytes] = []
    before = 0
    for number, kind, value in fields:
        if kind == RAW:
            kind, body = value
        else:
            body = _value(kind, value)
        out += (BYTES[(number - before) << 4 | kind], body)
        before = number
    out.append(STOP)
    return b"".join(out)


def split(data: bytes) -> dict[int, tuple[int, bytes]]:
    """Take a structure apart: the type and the bytes of each field, by its number."""
    found, at, number = {}, 0, 0
    while data[at]:
        kind, start, number = _field(data, at, number)
        at = _end_of(kind, data, start)
        found[number] = (kind, data[start:at])
    return found


def _field(data: bytes, at: int, before: int) -> tuple[int, int, int]:
    """The head of a field: its type, where its value starts, its number."""
    kind, step = data[at] & 15, data[at] >> 4
    if step:
        return kind, at + 1, before + step
    coded, start = _read_varint(data, at + 1)
    return kind, start, coded >> 1 ^ -(coded & 1)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def _end_of(kind: int, data: bytes, at: int) -> int:
    """Where a value ends that starts at `at`.

    Raises: ValueError for a type that headers of Parquet do not have.
    """
    if kind in (TRUE, FALSE):  # as a field: the type is the value
        return at
    if kind == BYTE:
        return at + 1
    if kind in (I16, I32, I64):
        return _read_varint(data, at)[1]
    if kind == BINARY:
        length, at = _read_varint(data, at)
        return at + length
    if kind == LIST:
        element, length = data[at] & 15, data[at] >> 4
        at += 1
        if length == LONG_LIST:
            length, at = _read_varint(data, at)
        for _ in range(length):
            at = _end_of(element, data, at) if element not in (TRUE, FALSE) else at + 1
        return at
    if kind == STRUCT:
        number = 0
        while data[at]:
            inner, at, number = _field(data, at, number)
            at = _end_of(inner, data, at)
        return at + 1
    raise ValueError(f"thrift: type of a field: unexpected, got {kind}")
