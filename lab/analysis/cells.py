"""A column of some rows as arrays, from which both a polars column and a Parquet page are made.

Numbers, or codes of words; and which of them are known. A polars column of it is mostly the array itself, not a copy.
Most columns of most captures have no null at all (every packet is TCP), and that is looked for first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.analysis import tables

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """One column of some rows."""

    values: Array
    """Numbers, booleans, or places in `words`; anything where they are not known."""
    known: Mask | bool = True
    """Which of them are known, or whether all or none are."""
    words: pl.Series | None = None
    """What codes stand for: text, or all words of an enumeration."""

    def series(self) -> pl.Series:
        """Make a polars column."""
        count = self.values.size
        if self.known is False:
            kind = pl.Series(self.values[:0]).dtype if self.words is None else self.words.dtype
            return pl.Series([None], dtype=kind).new_from_index(0, count)
        if count and self.values.strides == (0,):
            column = pl.Series(self.values[:1]).new_from_index(0, count)
        else:
            column = pl.Series(self.values)
        if self.known is not True:
            column = column.zip_with(pl.Series(self.known), pl.Series([None], dtype=column.dtype))
        return column if self.words is None else self.words[column]


Rows = Mapping[str, Cells]
"""Some rows of a table, by column."""


def frame(rows: Rows, spec: tuple[tables.Column, ...]) -> pl.DataFrame:
    """Make the table; gives the columns its types and its order."""

    def shaped(name: str, kind: Any) -> pl.Series:
        column = rows[name].series()
        return (column if column.dtype == kind else column.cast(kind)).alias(name)

    return pl.DataFrame([shaped(name, kind) for name, kind in tables.schema(spec).items()])


def from_frame(table: pl.DataFrame) -> Rows:
    """Take a table that was made otherwise apart."""
    return {column.name: _from_series(column) for column in table.get_columns()}


def _from_series(column: pl.Series) -> Cells:
    known = column.is_not_null().to_numpy() if column.null_count() else True
    words = None
    if column.dtype == pl.String:
        column = column.cast(pl.Enum(column.drop_nulls().unique()))
    if isinstance(column.dtype, pl.Enum):
        words = pl.Series(column.dtype.categories)
        column = column.to_physical()
    if known is not True:
        column = column.fill_null(False if column.dtype == pl.Boolean else 0)
    return Cells(column.to_numpy(), known, words)


def same(value: Any, count: int) -> Array:
    """One value so many times, without the memory for it."""
    return np.broadcast_to(np.asarray(value), count)


def where(condition: Mask, values: Array) -> Cells:
    """Make a column with null where the condition does not hold."""
    return Cells(values, _whole(condition))


def unless(values: Array, absent: int) -> Cells:
    """Make a column with null where the array holds `absent`."""
    return where(np.asarray(values != absent), values)


def _whole(known: Mask) -> Mask | bool:
    """The same, said shorter where it holds of all or of none."""
    if known.all():
        return True
    return known if known.any() else False


@cache
def words_of(names: tuple[str, ...]) -> pl.Series:
    """The words themselves (without the empty one), in the order of their codes."""
    return pl.Series([name for name in names if name], dtype=tables.enumeration(names))


def coded(codes: npt.NDArray[np.uint8], names: tuple[str, ...]) -> Cells:
    """Make a column of words from their codes; code 0 is null where the first word is empty."""
    if names[0]:
        return Cells(codes, words=words_of(names))
    return Cells(codes - (codes > 0), _whole(codes > 0), words_of(names))


def flag(values: npt.NDArray[np.uint8]) -> Cells:
    """Make a column of booleans from 0 and 1."""
    return Cells(values.view(np.bool_))
