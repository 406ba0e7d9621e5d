"""One column of a row group as Parquet pages: a page of values, and before it one of the words they are codes of.

Chosen by what the values are, so that nothing has to be looked up and little has to be compressed:

- words (a column of an enumeration, or text): each distinct one once, and codes;
- whole numbers: differences (`parquet_values.py`), or as they are where that saves nothing; one value throughout is a
  word of its own;
- booleans a bit each, real numbers as they are.

https://github.com/apache/parquet-format: README.md (pages), Encodings.md, src/main/thrift/parquet.thrift (numbers)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis import parquet_values as values_as
from lab.analysis.cells import Cells
from lab.analysis.thrift import I32, STRUCT, Fields, structure, varint

# Type, Encoding and PageType of parquet.thrift.
BOOLEAN, INT32, INT64, DOUBLE, BYTE_ARRAY = 0, 1, 2, 5, 6
PLAIN, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY = 0, 3, 5, 8
DATA_PAGE, DICTIONARY_PAGE = 0, 2

KINDS: dict[Any, tuple[int, Any]] = {
    pl.Int8: (INT32, np.int32),
    pl.Int16: (INT32, np.int32),
    pl.Int32: (INT32, np.int32),
    pl.Int64: (INT64, np.int64),
    pl.UInt8: (INT32, np.int32),
    pl.UInt16: (INT32, np.int32),
    pl.UInt32: (INT32, np.int32),
    pl.UInt64: (INT64, np.int64),
    pl.Float64: (DOUBLE, np.float64),
    pl.Boolean: (BOOLEAN, np.bool_),
    pl.String: (BYTE_ARRAY, None),
    pl.Enum: (BYTE_ARRAY, None),
}
"""What a column's values are in the file, and in memory before they are written."""

Numbers = npt.NDArray[np.int64]
Words = tuple[int, bytes]
"""How many, and their bytes one after the other."""
Parts = list[bytes]
"""Bytes that belong one after the other."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """One column of a row group, encoded."""

    parts: Parts
    """The bytes, in order."""
    kind: int
    """Type of parquet.thrift."""
    encoding: int
    """That of the values."""
    values: int
    """Nulls counted."""
    words_bytes: int
    """Bytes before the page of values; 0 where that is the first."""

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return sum(len(part) for part in self.parts)


def pages_of(column: Cells, dtype: Any) -> Pages:
    """Encode one column of a row group, which is of this type in the table."""
    kind, stored = KINDS[dtype.base_type()]
    count = column.values.size
    words, encoding, body = _values(column, kind, stored)
    page = [_levels(column), *body]
    about_values: Fields = [(1, I32, count), (2, I32, encoding), (3, I32, RLE), (4, I32, RLE)]
    parts: Parts = []
    if words is not None:
        number, text = words
        parts += [_head(DICTIONARY_PAGE, len(text), (7, STRUCT, [(1, I32, number), (2, I32, PLAIN)])), text]
    words_bytes = sum(len(part) for part in parts)
    parts += [_head(DATA_PAGE, sum(len(part) for part in page), (5, STRUCT, about_values)), *page]
    return Pages(parts=parts, kind=kind, encoding=encoding, values=count, words_bytes=words_bytes)


def _head(kind: int, size: int, about: tuple[int, int, Any]) -> bytes:
    """The header of an uncompressed page of so many bytes."""
    return structure([(1, I32, kind), (2, I32, size), (3, I32, size), about])


def _levels(column: Cells) -> bytes:
    """Which rows hold a value (definition levels): a run where all do or none does, else a bit each."""
    if isinstance(column.known, bool):
        coded = varint(column.values.size << 1) + bytes([column.known])
    else:
        bits = np.packbits(column.known, bitorder="little")
        coded = varint(bits.size << 1 | 1) + bits.tobytes()
    return struct.pack("<I", len(coded)) + coded


def _values(column: Cells, kind: int, stored: Any) -> tuple[Words | None, int, Parts]:
    """Encode what is known: the words if the values are codes, how they are encoded, and the bytes."""
    array, known = column.values, column.known
    if not array.size or known is False:
        return None, PLAIN, []
    if kind in (BOOLEAN, DOUBLE):
        found = array if known is True else array[known]
        return None, PLAIN, [(np.packbits(found, bitorder="little") if kind == BOOLEAN else found).tobytes()]
    numbers = array.view(np.int64) if array.itemsize == 8 else array.astype(np.int64)
    if not isinstance(known, bool):
        room = np.empty(array.size + 1, np.int64)
        numbers = room[: values_as.keep(numbers, known, room)]
        if not numbers.size:
            return None, PLAIN, []
    if column.words is not None:
        return _codes(numbers, column.words)
    if numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
        return (1, numbers[:1].astype(stored).tobytes()), RLE_DICTIONARY, [_only_code(numbers.size)]
    if packed := _differences(numbers, narrow=kind == INT32):
        return None, DELTA_BINARY_PACKED, [packed]
    return None, PLAIN, [numbers.astype(stored, copy=False).tobytes()]


def _differences(numbers: Numbers, *, narrow: bool) -> bytes | None:
    """Whole numbers by their differences; None where that saves nothing."""
    blocks = numbers.size // values_as.BLOCK + 1
    room = np.empty(values_as.MOST_BYTES_OF_A_HEAD + blocks * values_as.MOST_BYTES_A_BLOCK, np.uint8)
    size = values_as.pack_differences(numbers, narrow, np.empty(values_as.BLOCK, np.int64), room)
    return room[:size].tobytes() if size else None


def _codes(codes: Numbers, words: pl.Series) -> tuple[Words, int, Parts]:
    """Codes, and of the words those that occur."""
    met = np.zeros(len(words), np.bool_)
    values_as.note_codes(codes, met)
    places = np.flatnonzero(met)
    encoded = [word.encode() for word in words.gather(places).to_list()]
    text = b"".join([struct.pack("<I", len(word)) + word for word in encoded])
    count = len(encoded)
    if count == 1:
        return (1, text), RLE_DICTIONARY, [_only_code(codes.size)]
    width, groups = (count - 1).bit_length(), (codes.size + 7) // 8
    ranks = np.zeros(len(words), np.int64)
    ranks[places] = np.arange(count)
    room = np.empty((codes.size // values_as.GROUP + 1) * values_as.GROUP * width // 8, np.uint8)
    values_as.pack_codes(codes, ranks, width, np.empty(values_as.BLOCK, np.int64), room)
    return (count, text), RLE_DICTIONARY, [bytes([width]), varint(groups << 1 | 1), room[: groups * width].tobytes()]


def _only_code(times: int) -> bytes:
    """The code of the only word, so many times."""
    return b"\x01" + varint(times << 1) + b"\x00"
