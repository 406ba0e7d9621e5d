"""Parquet files as written here, read by polars, and by the format's own library: every type, with and without nulls,
at the edges of blocks."""

from __future__ import annotations

import itertools
import math
import struct
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.analysis.cells import from_frame
from lab.analysis.parquet import HOST, join_files, parts_of, write_chunks
from lab.analysis.tables import Column
from lab.analysis.thrift import BINARY, I32, I64, LIST, RAW, STRUCT, split, structure

WORDS = pl.Enum(["one", "two", "three", "four", "five"])
WHOLE = {
    pl.Int8: (-(1 << 7), (1 << 7) - 1),
    pl.Int16: (-(1 << 15), (1 << 15) - 1),
    pl.Int32: (-(1 << 31), (1 << 31) - 1),
    pl.Int64: (-(1 << 63), (1 << 63) - 1),
    pl.UInt8: (0, (1 << 8) - 1),
    pl.UInt16: (0, (1 << 16) - 1),
    pl.UInt32: (0, (1 << 32) - 1),
    pl.UInt64: (0, (1 << 64) - 1),
}
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    **{kind: st.integers(low, high) | st.sampled_from([low, high]) for kind, (low, high) in WHOLE.items()},
    pl.Float64: st.floats(allow_nan=False),
    pl.Boolean: st.booleans(),
    pl.String: st.text(max_size=3),
    WORDS: st.sampled_from(WORDS.categories.to_list()),
}


def columns_of(table: pl.DataFrame) -> tuple[Column, ...]:
    return tuple(Column(name, kind, "", "") for name, kind in table.schema.items())


def read_again(table: pl.DataFrame, folder: Path, edges: list[int] | None = None) -> pl.DataFrame:
    """Write a table, cut at these rows, and read it, with two libraries that owe each other nothing."""
    cuts = [0, *(edges or []), table.height]
    parts = [partial(from_frame, table[start:end]) for start, end in itertools.pairwise(cuts)]
    write_chunks([(None, parts)], columns_of(table), folder / "x.parquet", named=False)
    again = pl.read_parquet(folder / "x.parquet")
    by_arrow = pyarrow.parquet.read_table(folder / "x.parquet", partitioning=None)
    for name in again.columns:
        told = by_arrow[name].to_pylist()
        assert repr(told) == repr(again[name].to_list()), name  # repr: a number that is none is not equal to itself
    return again


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), times=st.sampled_from([1, 50]))
def test_what_was_written_is_read(data: st.DataObject, times: int, tmp_path: Path) -> None:
    rows = data.draw(st.integers(1, 20))
    columns = {}
    for place, (kind, values) in enumerate(VALUES.items()):
        drawn = data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{place}"] = pl.Series(drawn * times, dtype=kind)
    table = pl.DataFrame(columns)
    again = read_again(table, tmp_path, [rows // 2])
    assert again.schema == table.schema
    assert again.equals(table)


@pytest.mark.parametrize("kind", WHOLE, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 32, 33, 128, 129, 130, 257, 4000])
def test_numbers_that_grow_jump_or_repeat(kind: Any, rows: int, tmp_path: Path) -> None:
    low, high = WHOLE[kind]
    span = high - low + 1
    table = pl.DataFrame(
        {
            "grow": pl.Series([low + n % span for n in range(rows)], dtype=kind),
            "jump": pl.Series([low + n * 2_654_435_761_004_033 % span for n in range(rows)], dtype=kind),
            "edge": pl.Series([(low, high, 0)[n % 3] for n in range(rows)], dtype=kind),
            "same": pl.Series([high] * rows, dtype=kind),
        }
    )
    assert read_again(table, tmp_path).equals(table)


@pytest.mark.parametrize("distinct", [1, 2, 3, 255, 256, 257, 3000])
def test_texts_that_repeat_and_that_are_many(distinct: int, tmp_path: Path) -> None:
    texts = [f"text {n * 7 % distinct}" for n in range(3001)]
    table = pl.DataFrame({"text": texts, "some": [text if n % 3 else None for n, text in enumerate(texts)]})
    assert read_again(table, tmp_path, [1, 1000]).equals(table)


def test_a_number_that_is_none_stays_one(tmp_path: Path) -> None:
    table = pl.DataFrame({"real": [0.0, -0.0, math.nan, math.inf, None]})
    again = read_again(table, tmp_path)["real"].to_list()
    assert math.copysign(1, again[1]) == -1
    assert math.isnan(again[2])
    assert again[3:] == [math.inf, None]


def test_parts_without_rows_leave_no_row_group(tmp_path: Path) -> None:
    table = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert read_again(table, tmp_path, [0, 0, 2, 2]).equals(table)
    assert read_again(table[:0], tmp_path).schema == table.schema


def test_a_part_of_the_rows_can_be_asked_for(tmp_path: Path) -> None:
    table = pl.DataFrame({"n": range(5000), "t": [f"{n % 9}" for n in range(5000)]}).with_columns(half=pl.col("n") // 2)
    read_again(table, tmp_path, [1000, 2000])
    lazy = pl.scan_parquet(tmp_path / "x.parquet")
    for condition in (pl.col("n") == 1500, pl.col("t") == "3", pl.col("half").is_between(400, 600)):
        assert lazy.filter(condition).collect().equals(table.filter(condition))
    assert lazy.slice(900, 1500).collect().equals(table[900:2400])


def test_vantages_stand_in_the_first_column_and_files_can_be_joined(tmp_path: Path) -> None:
    table = pl.DataFrame({"a": [1, 2, 3]})
    columns = columns_of(table)
    write_chunks(
        [("one", parts_of(table)), ("none", []), ("two", parts_of(table))], columns, tmp_path / "x", named=True
    )
    write_chunks([("three", parts_of(table))], columns, tmp_path / "y", named=True)
    join_files([tmp_path / "x", tmp_path / "y"], tmp_path / "z")
    again = pl.read_parquet(tmp_path / "z")
    assert again.columns == [HOST, "a"]
    assert again.rows() == [(host, a) for host in ("one", "two", "three") for a in (1, 2, 3)]


def test_a_structure_is_taken_apart_into_the_fields_it_was_made_of() -> None:
    inner = [(1, I32, -3), (9, BINARY, b"word")]
    whole = structure(
        [(1, I64, 1 << 40), (2, LIST, (STRUCT, [inner] * 20)), (5, LIST, (I32, [1, 2])), (6, STRUCT, inner)]
    )
    parts = split(whole)
    assert sorted(parts) == [1, 2, 5, 6]
    assert structure([(number, RAW, part) for number, part in sorted(parts.items())]) == whole
    assert structure([(1, I32, -1)]) == struct.pack("BBB", 0x15, 1, 0)
