"""Memory that is kept is given to one array at a time, comes back with the last view, and has a bound."""

from __future__ import annotations

import gc
import threading

import numpy as np
import polars as pl
import pytest

from lab.analysis import analyze, kept_memory
from lab.analysis.spill import Spill
from lab.analysis.state import CONNECTIONS, SIDE, empty_state
from tests.analysis import conftest
from tests.analysis.test_corpus import CASES, input_of

WORDS = kept_memory.SMALLEST // 8


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    monkeypatch.setattr(kept_memory, "_kept", [])


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_comes_back_with_the_last_view_of_it() -> None:
    array = kept_memory.empty(WORDS, np.uint64)
    array[:] = 7
    where = address(array)
    column = pl.Series(array)
    view = array[5:9].view(np.uint32)
    del array
    assert kept_memory.kept_bytes() == 0
    del view
    assert kept_memory.kept_bytes() == 0
    assert column.sum() == 7 * WORDS
    del column
    assert kept_memory.kept_bytes() == kept_memory.SMALLEST
    assert address(kept_memory.empty(WORDS, np.uint64)) == where


def test_a_piece_is_taken_for_what_nearly_fills_it() -> None:
    kept_memory.empty(8 * WORDS, np.uint64)
    assert kept_memory.kept_bytes() == 8 * kept_memory.SMALLEST
    small = kept_memory.empty(WORDS, np.uint64)
    assert kept_memory.kept_bytes() == 8 * kept_memory.SMALLEST
    large = kept_memory.empty(8 * WORDS - 100, np.uint64)
    assert kept_memory.kept_bytes() == 0
    assert (small.size, large.size) == (WORDS, 8 * WORDS - 100)


def test_the_oldest_pieces_go_where_too_much_would_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_memory, "MOST_KEPT", 3 * kept_memory.SMALLEST)
    arrays = [kept_memory.empty(WORDS, np.uint64) for _ in range(5)]
    newest = {address(array) for array in arrays[2:]}
    while arrays:
        del arrays[0]
    assert kept_memory.kept_bytes() == 3 * kept_memory.SMALLEST
    again = [kept_memory.empty(WORDS, np.uint64) for _ in range(3)]
    assert {address(array) for array in again} == newest


def test_no_two_threads_get_the_same_piece() -> None:
    spoiled: list[int] = []

    def take(number: int) -> None:
        for turn in range(300):
            mine = kept_memory.empty(WORDS, np.uint64)
            mine[::512] = number << 32 | turn
            other = kept_memory.empty(WORDS, np.uint64)
            other[::512] = 0
            if (mine[::512] != number << 32 | turn).any():
                spoiled.append(turn)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not spoiled


def test_zeros_are_zeros_in_memory_that_another_had() -> None:
    kept_memory.empty(WORDS, np.uint64)[:] = 7
    assert not kept_memory.zeros(WORDS, np.uint64).any()


def test_an_analysis_takes_the_memory_of_the_one_before() -> None:
    capture = input_of(CASES[0])

    def kept_by_one() -> int:
        analysis = analyze([capture])
        assert analysis.packets().height == analysis.packet_count
        assert analysis.connections.height == 1
        del analysis
        gc.collect()
        return kept_memory.kept_bytes()

    first = kept_by_one()
    assert first > 0
    assert kept_by_one() == first


def test_no_cell_of_any_table_holds_what_another_left(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = []
    for left in (0x00, 0xFF):
        monkeypatch.setattr(conftest, "LEFT_BY_OTHERS", left)
        analysis = analyze([input_of(case) for case in CASES])
        tables.append((analysis.packets(), analysis.connections, analysis.flows, analysis.captures))
    for one, other in zip(*tables, strict=True):
        assert one.equals(other)
        assert one.height > 0


def test_where_arrays_lie_in_files_nothing_is_kept() -> None:
    room = Spill(largest_in_memory=SIDE.itemsize)
    state = room.with_room(empty_state(), 1000)
    state.sides[:2000] = np.zeros(1, SIDE)
    state.counts[CONNECTIONS] = 1000
    kept_memory.empty(WORDS, np.uint64)
    room.forget()
    assert kept_memory.kept_bytes() > 0
    state = room.with_room(state, 1000)
    room.forget()
    room.close()
    assert kept_memory.kept_bytes() == 0
    assert state.sides.size >= 4000
