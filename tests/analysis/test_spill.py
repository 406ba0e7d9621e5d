"""What is remembered beyond memory is the same, and when there is no room on disk it stays in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from lab.analysis import analyze, spill
from lab.analysis.spill import Spill
from lab.analysis.state import CONNECTIONS, SIDE, State, empty_state
from tests.analysis.test_corpus import CASES, input_of
from tests.pcaps.craft import Ladder, write_pcap

AT_ONCE = 1000


def filled(room: Spill, batches: int) -> State:
    """Grow a state by batches; each connection's sides are whole, and carry its number."""
    state = empty_state()
    for batch in range(batches):
        state = room.with_room(state, AT_ONCE)
        numbers = np.arange(batch * AT_ONCE, (batch + 1) * AT_ONCE)
        state.sides[2 * numbers[0] : 2 * numbers[-1] + 2] = np.zeros(1, SIDE)
        state.sides["isn"][2 * numbers], state.sides["isn"][2 * numbers + 1] = numbers, numbers
        state.counts[CONNECTIONS] += AT_ONCE
        room.forget()
    return state


def in_order(state: State, batches: int) -> bool:
    expected = np.repeat(np.arange(batches * AT_ONCE), 2)
    return bool((state.sides["isn"][: expected.size] == expected).all())


def test_what_lies_in_files_is_what_was_written_after_growing_and_forgetting() -> None:
    room = Spill(largest_in_memory=4 * AT_ONCE * SIDE.itemsize)
    state = filled(room, 12)
    descriptors = len(os.listdir("/proc/self/fd"))
    room.close()
    assert len(os.listdir("/proc/self/fd")) < descriptors
    assert in_order(state, 12)
    assert not state.sides["packets"][: 24 * AT_ONCE].any()


@pytest.mark.parametrize("files_that_fit", [0, 1, 3])
def test_with_a_full_disk_arrays_go_back_to_memory_whole(monkeypatch: pytest.MonkeyPatch, files_that_fit: int) -> None:
    left = iter(range(files_that_fit))

    def allocate(descriptor: int, offset: int, size: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "no space left")
        os.ftruncate(descriptor, offset + size)

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    room = Spill(largest_in_memory=AT_ONCE * SIDE.itemsize)
    state = filled(room, 12)
    room.close()
    assert in_order(state, 12)


def test_an_analysis_with_everything_in_files_gives_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = Ladder()
    for _ in range(300):
        ladder.ports["a"] += 1
        ladder.handshake()
        ladder.close()
    write_pcap(tmp_path / "many.pcap", ladder.frames)
    files = [tmp_path / "many.pcap", *map(input_of, CASES)]
    in_memory = analyze(files)
    monkeypatch.setattr(spill.Spill.__init__, "__defaults__", (0,))
    in_files = analyze(files, keep_packets=0)
    assert in_files.connections.equals(in_memory.connections)
    assert in_files.packets().equals(in_memory.packets())
    assert in_files.flows.equals(in_memory.flows)
