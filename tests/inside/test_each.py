"""One call on many descriptors: those that fail cost the others nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import repeat

import pytest

from lab.inside.each import each


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(4)]
    for ours, _theirs in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_every_descriptor_has_its_result_in_its_place(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    descriptors = [ours.fileno() for ours, _theirs in pairs]
    pairs[0][1].send(b"first")
    pairs[2][1].close()
    pairs[3][1].send(b"last")
    failed: list[tuple[int, OSError]] = []

    def told(descriptor: int, error: OSError) -> None:
        failed.append((descriptor, error))

    assert each(map(os.read, descriptors, repeat(100)), descriptors, told) == [b"first", None, b"", b"last"]
    assert [(descriptor, type(error)) for descriptor, error in failed] == [(descriptors[1], BlockingIOError)]


def test_all_may_fail_and_there_may_be_none(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    descriptors = [ours.fileno() for ours, _theirs in pairs]

    assert each(map(os.read, descriptors, repeat(1)), descriptors, lambda _fd, _error: -1) == [-1] * 4
    assert each(map(os.read, [], repeat(1)), [], lambda _fd, _error: -1) == []


def test_what_is_no_system_error_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        each(map(os.read, [0], ["no number"]), [0], lambda _fd, _error: None)  # type: ignore[arg-type]
