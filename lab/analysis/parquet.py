"""Writing a table to Parquet part by part, so that memory stays bounded by one part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from lab.analysis import tables

ROWS_A_GROUP = 1 << 17
"""Rows held until they are written: what bounds memory."""


def write_chunks(chunks: Iterator[pl.DataFrame], columns: tuple[tables.Column, ...], path: Path) -> None:
    """Stream the parts of one table into one file."""

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Hand the parts on; the arguments are what a reader may push down, which a writer of everything does not."""
        del with_columns, predicate, n_rows, batch_size
        yield from chunks

    frame = register_io_source(source, schema=pl.Schema(tables.schema(columns)))
    # Statistics take a fifth of the time, and would only help those who read a part of the rows.
    frame.sink_parquet(path, compression="lz4", statistics=False, row_group_size=ROWS_A_GROUP)
