"""What a tap notes of the bytes that pass, on a real connection; and what it leaves alone."""

from __future__ import annotations

import json
import os
import posix
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.inside.boundary_tap import Tap
from lab.inside.framing import FixedSize, parse_framing


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setitem(posix.environ, b"LAB_OUT", bytes(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield client.fileno(), server.fileno()


def stored(folder: Path, program: str) -> list[dict[str, Any]]:
    return list(json.loads((folder / f"boundaries-{program}.json").read_text())["connections"])


def test_messages_end_where_the_framing_says_however_the_calls_cut(ends: tuple[int, int], tmp_path: Path) -> None:
    framing = parse_framing("length")
    client, server = (Tap(1, incoming=framing, outgoing=framing) for _ in range(2))
    data = framing.encode(b"a" * 6) + framing.encode(b"b" * 16)
    assert client.write(ends[0], data) == 30
    assert [len(server.read(ends[1], size)) for size in (7, 8, 100)] == [7, 8, 15]
    client.store("client")
    server.store("server")
    (sent,), (taken,) = stored(tmp_path, "client"), stored(tmp_path, "server")
    assert sent["local"] == taken["remote"]
    assert sent["sent"] == taken["taken"] == [10, 30]
    assert [call[:4] for call in taken["calls"]] == [["recv", 0, 7, 7], ["recv", 7, 8, 8], ["recv", 15, 15, 100]]
    assert taken["options"][0][1]["nodelay"] == 0


def test_without_a_framing_a_recv_is_a_message_and_answers_of_known_size_are_counted(
    ends: tuple[int, int], tmp_path: Path
) -> None:
    none = parse_framing("none")
    tap = Tap(2, incoming=FixedSize(4), outgoing=none)
    tap.write(ends[0], b"one")
    tap.write(ends[0], b"two!")
    os.write(ends[1], b"aaaabbbb")
    tap.read(ends[0], 6)
    tap.read(ends[0], 6)
    tap.store("x")
    (log,) = stored(tmp_path, "x")
    assert (log["sent"], log["taken"]) == ([3, 7], [4, 8])


def test_no_more_connections_are_logged_than_asked_for(ends: tuple[int, int], tmp_path: Path) -> None:
    none = parse_framing("none")
    tap = Tap(1, incoming=none, outgoing=none)
    tap.write(ends[0], b"logged")
    assert tap.read(ends[1], 100) == b"logged", "read, though nobody notes it"
    tap.store("x")
    assert len(stored(tmp_path, "x")) == 1


def test_a_program_that_tells_what_it_took_is_believed_and_not_its_framing(
    ends: tuple[int, int], tmp_path: Path
) -> None:
    framing = parse_framing("length")
    tap = Tap(1, incoming=framing, outgoing=framing)
    tap.program_tells = True
    os.write(ends[1], framing.encode(b"one") + framing.encode(b"two") + b"half")
    tap.read(ends[0], 100)
    tap.took(ends[0], [b"one", b"two"], 4)
    os.write(ends[1], b"a rest that was taken with it")
    tap.read(ends[0], 100)
    tap.took(ends[0], [b"joined"], 0)
    os.write(ends[1], framing.encode(b"last") + b"\xff\xff\xff\xff")
    tap.read(ends[0], 100)
    tap.took(ends[0], [b"last"], None)
    tap.store("x")
    (log,) = stored(tmp_path, "x")
    assert log["taken"] == [7, 14, 47, 55]
