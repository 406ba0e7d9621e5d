"""Writing a table to Parquet part by part, so that memory stays bounded by one part; parts are encoded side by side.

Not by polars, whose encoder builds a dictionary of every column of every part: that took as long as all the rest of
the analysis. Here codes stay codes and numbers become differences (`parquet_pages.py`), in a quarter of the time.
The file's schema, with the types of polars in it, is the one polars itself writes for an empty table.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from lab.analysis import tables
from lab.analysis.cells import Cells, Rows, from_frame, same
from lab.analysis.parquet_pages import RLE, Pages, pages_of
from lab.analysis.thrift import BINARY, I32, I64, LIST, RAW, STRUCT, Fields, split, structure

HOST = "host"
"""The column of the vantage, where a table holds those of several."""
ROWS_A_GROUP = 1 << 16
"""Rows of a row group of a table that is at hand whole."""
WORKERS = 2
IN_HAND = 3
"""Parts that are made, encoded or wait to be written at a time."""
MAGIC = b"PAR1"
CREATED_BY = b"Wirelab"
UNCOMPRESSED = 0
# FileMetaData of parquet.thrift.
VERSION, SCHEMA, ROWS, ROW_GROUPS, KEY_VALUES, CREATOR, ORDERS = range(1, 8)

Schema = dict[str, pl.DataType | type[pl.DataType]]
Part = Callable[[], Rows]
"""Makes some rows of a table."""
Vantages = Iterable[tuple[str | None, Iterable[Part]]]
"""The parts of one table by the vantage they are from; none has a name where the table has no such column."""


def write_chunks(vantages: Vantages, columns: tuple[tables.Column, ...], path: Path, *, named: bool) -> None:
    """Write the parts of one table into one file, the vantage in front where it is `named`."""
    schema: Schema = ({HOST: pl.String} if named else {}) | tables.schema(columns)
    with path.open("wb") as file, ThreadPoolExecutor(WORKERS, thread_name_prefix="parquet") as pool:
        file.write(MAGIC)
        groups, rows = [], 0
        for pages in _in_order(pool, _jobs(vantages, schema)):
            if pages and pages[0].values:
                groups.append(_write_group(file, list(schema), pages))
                rows += pages[0].values
        foot = _foot(schema, groups, rows)
        file.write(foot + struct.pack("<I", len(foot)) + MAGIC)


def parts_of(table: pl.DataFrame) -> Iterator[Part]:
    """Yield a table that is at hand already in parts."""
    for first in range(0, table.height, ROWS_A_GROUP):
        yield partial(from_frame, table.slice(first, ROWS_A_GROUP))


def _jobs(vantages: Vantages, schema: Schema) -> Iterator[Callable[[], list[Pages]]]:
    """What there is to do, in the order of the rows."""

    def encoded(host: str | None, part: Part) -> list[Pages]:
        rows = dict(part())
        if host is not None:
            count = next(iter(rows.values())).values.size
            rows[HOST] = Cells(same(np.uint32(0), count), words=pl.Series([host]))
        return [pages_of(rows[name], dtype) for name, dtype in schema.items()]

    for host, parts in vantages:
        for part in parts:
            yield partial(encoded, host, part)


def _in_order(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], list[Pages]]]) -> Iterator[list[Pages]]:
    """Do the jobs in a pool, a few ahead; yield what they return in their order."""
    waiting: deque[Future[list[Pages]]] = deque()
    for job in jobs:
        if len(waiting) >= IN_HAND:
            yield waiting.popleft().result()
        waiting.append(pool.submit(job))
    while waiting:
        yield waiting.popleft().result()


def _write_group(file: BinaryIO, names: list[str], pages: list[Pages]) -> Fields:
    """Write one row group; returns what the footer says of it."""
    chunks, start = [], file.tell()
    at = start
    for name, column in zip(names, pages, strict=True):
        file.writelines(column.parts)
        about: list[tuple[int, int, object]] = [
            (1, I32, column.kind),
            (2, LIST, (I32, sorted({column.encoding, RLE}))),
            (3, LIST, (BINARY, [name.encode()])),
            (4, I32, UNCOMPRESSED),
            (5, I64, column.values),
            (6, I64, column.size),
            (7, I64, column.size),
            (9, I64, at + column.words_bytes),
        ]
        if column.words_bytes:
            about.append((11, I64, at))
        chunks.append([(2, I64, at), (3, STRUCT, about)])
        at += column.size
    return [
        (1, LIST, (STRUCT, chunks)),
        (2, I64, at - start),
        (3, I64, pages[0].values),
        (5, I64, start),
        (6, I64, at - start),
    ]


def _foot(schema: Schema, groups: list[Fields], rows: int) -> bytes:
    """The footer: the schema as polars writes it, and the row groups."""
    empty = io.BytesIO()
    pl.DataFrame(schema=schema).write_parquet(empty, statistics=False)
    written = empty.getvalue()
    (length,) = struct.unpack("<I", written[-8:-4])
    theirs = split(written[-8 - length : -8])
    return structure(
        [
            (VERSION, RAW, theirs[VERSION]),
            (SCHEMA, RAW, theirs[SCHEMA]),
            (ROWS, I64, rows),
            (ROW_GROUPS, LIST, (STRUCT, groups)),
            (KEY_VALUES, RAW, theirs[KEY_VALUES]),
            (CREATOR, BINARY, CREATED_BY),
            (ORDERS, RAW, theirs[ORDERS]),
        ]
    )


def join_files(parts: Sequence[Path], path: Path) -> None:
    """Make one file of files of the same columns, one after the other; the parts are gone then."""
    if len(parts) == 1:
        parts[0].rename(path)
        return
    frame = pl.concat([pl.scan_parquet(part) for part in parts])
    # Statistics take a fifth of the time, and would only help those who read a part of the rows.
    frame.sink_parquet(path, compression="lz4", statistics=False, row_group_size=ROWS_A_GROUP)
    for part in parts:
        part.unlink()
