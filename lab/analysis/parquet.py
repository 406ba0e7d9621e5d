"""Writing a table to Parquet part by part, so that memory stays bounded by one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from lab.analysis import tables

HOST = "host"
"""The column of the vantage, where a table holds those of several."""
ROWS_A_GROUP = 1 << 16
"""Rows held until they are written: what bounds memory."""
Vantages = Iterable[tuple[str | None, Iterable[pl.DataFrame]]]
"""The parts of one table by the vantage they are from; none has a name where the table has no such column."""


def write_chunks(vantages: Vantages, columns: tuple[tables.Column, ...], path: Path, *, named: bool) -> None:
    """Stream the parts of one table into one file, the vantage in front where it is `named`."""

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Hand the parts on; the arguments are what a reader may push down, which a writer of everything does not."""
        del with_columns, predicate, n_rows, batch_size
        for host, chunks in vantages:
            for chunk in chunks:
                yield chunk if host is None else chunk.select(pl.lit(host).alias(HOST), pl.all())

    kinds: dict[str, pl.DataType | type[pl.DataType]] = {HOST: pl.String} if named else {}
    _sink(register_io_source(source, schema=pl.Schema(kinds | tables.schema(columns))), path)


def join_files(parts: Sequence[Path], path: Path) -> None:
    """Make one file of files of the same columns, one after the other; the parts are gone then."""
    if len(parts) == 1:
        parts[0].rename(path)
        return
    _sink(pl.concat([pl.scan_parquet(part) for part in parts]), path)
    for part in parts:
        part.unlink()


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    # Statistics take a fifth of the time, and would only help those who read a part of the rows.
    frame.sink_parquet(path, compression="lz4", statistics=False, row_group_size=ROWS_A_GROUP)
