"""A turn of the compiled epoll server runs in two ways, machine code and the interpreter: both must do the same."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import select
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from captures import PROJECT

from lab.inside import machine_code
from lab.inside.servers import epoll_compiled_turn as compiled
from lab.inside.servers.epoll_compiled_server import Turn

WAYS = ("machine code", "interpreter")
RECV_SIZE = 100

pytestmark = pytest.mark.usefixtures("machine_code_made")


class Crowd:
    """Connections, a listener and a wake-up descriptor in one epoll object, and a turn over them."""

    def __init__(self, way: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(machine_code.SWITCH, "off" if way == "interpreter" else "")
        self.ours, self.theirs = zip(*[socket.socketpair() for _ in range(count)], strict=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.wakeup, self.wake = os.pipe()
        self.epoll = select.epoll()
        for end in (*self.ours, self.listener):
            end.setblocking(False)
            self.epoll.register(end, select.EPOLLIN)
        self.epoll.register(self.wakeup, select.EPOLLIN)
        settings = SimpleNamespace(recv_size=RECV_SIZE)
        lent: Any = SimpleNamespace(
            listener=self.listener,
            server=SimpleNamespace(signals=SimpleNamespace(wakeup_fd=self.wakeup), settings=settings),
            epoll=self.epoll,
        )
        self.turn = Turn(lent)
        assert self.turn.runs_as.partition(":")[0] == way
        self.name = {end.fileno(): f"connection {i}" for i, end in enumerate(self.ours)}
        self.name |= {self.listener.fileno(): "listener", self.wakeup: "wakeup"}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_error: object) -> None:
        for end in (*self.ours, *self.theirs, self.listener, self.epoll):
            end.close()
        os.close(self.wakeup)
        os.close(self.wake)

    def take(self) -> list[tuple[str, int]]:
        """Take a turn; returns who was ready, by name, and what the read gave."""
        self.turn.take()
        return [(self.name[descriptor], size) for descriptor, size in self.turn.reads()]

    def answer(self, replies: dict[int, bytes]) -> None:
        """Have the next turn begin with these answers, by connection."""
        self.turn.work_on([self.ours[i].fileno() for i in replies])
        self.turn.answer_with(list(replies.values()))


@pytest.mark.parametrize("seed", range(30))
def test_both_ways_do_the_same_whatever_comes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for way in WAYS:
        chance = random.Random(seed)
        count = chance.randint(1, 40)
        with Crowd(way, count, monkeypatch) as crowd:
            os.write(crowd.wake, b"!")  # so that a turn never waits for ever
            for end in crowd.theirs:
                what = chance.choice(("data", "data", "data", "much", "end", "data and end", "gone", "nothing"))
                if what in ("data", "much", "data and end"):
                    end.send(chance.randbytes(chance.randint(1, 20) if what != "much" else RECV_SIZE * 2))
                if "end" in what:
                    end.shutdown(socket.SHUT_WR)
                if what == "gone":
                    end.close()
            answered = chance.sample(range(count), chance.randint(0, count))
            crowd.answer({i: chance.randbytes(chance.randint(1, 30)) for i in answered})
            first = crowd.take()
            seen.append([first, crowd.turn.unusual, crowd.turn.stream().read()])
            seen[-1].append([(crowd.name[fd], reply, sent) for fd, reply, sent in crowd.turn.answers_sent()])
            crowd.turn.answer_with([])
            seen[-1].append(crowd.take())
            for end in crowd.theirs:
                try:
                    seen[-1].append(end.recv(1000, socket.MSG_DONTWAIT))
                except OSError as error:
                    seen[-1].append(error.errno)
    assert seen[0] == seen[1]
    assert seen[0][0] or seen[0][3], "a turn must have done something"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_simply_data_is_received_end_to_end_and_nothing_is_unusual(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Crowd(way, 3, monkeypatch) as crowd:
        crowd.theirs[0].send(b"one")
        crowd.theirs[2].send(b"three")
        assert crowd.take() == [("connection 0", 3), ("connection 2", 5)]
        assert not crowd.turn.unusual
        assert crowd.turn.received() == [b"one", b"three"]
        assert crowd.turn.answer_with([b"ONE", b"THREE"]) == 8
        crowd.theirs[1].send(b"two")
        assert crowd.take() == [("connection 1", 3)]
        assert crowd.turn.answers_sent() == []
        assert [end.recv(100) for end in (crowd.theirs[0], crowd.theirs[2])] == [b"ONE", b"THREE"]


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_does_not_fit_ends_the_turn_and_each_write_is_told(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Crowd(way, 3, monkeypatch) as crowd:
        with contextlib.suppress(BlockingIOError):
            while crowd.ours[1].send(b"x" * 1000):
                pass
        crowd.theirs[2].send(b"later")
        crowd.answer({0: b"zero", 1: b"one", 2: b"two"})
        assert crowd.take() == []
        assert crowd.turn.unusual == 1
        assert [(crowd.name[fd], reply, sent) for fd, reply, sent in crowd.turn.answers_sent()] == [
            ("connection 0", b"zero", 4),
            ("connection 1", b"one", -errno.EAGAIN),
            ("connection 2", b"two", 3),
        ]
        crowd.turn.answer_with([])
        assert crowd.take() == [("connection 2", 5)]


@pytest.mark.parametrize("way", WAYS)
def test_what_the_buffer_has_no_room_for_is_reported_again(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.inside.servers.epoll_compiled_server.BUFFER_BYTES", 2 * RECV_SIZE)
    with Crowd(way, 4, monkeypatch) as crowd:
        for end in crowd.theirs:
            end.send(b"y" * RECV_SIZE)
        assert [size for _, size in crowd.take()] == [RECV_SIZE] * 2
        assert not crowd.turn.unusual
        assert [size for _, size in crowd.take()] == [RECV_SIZE] * 2
        assert len(crowd.turn.received()) == 2


@pytest.mark.parametrize("way", WAYS)
def test_listener_and_wakeup_are_told_and_not_read(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Crowd(way, 1, monkeypatch) as crowd:
        os.write(crowd.wake, b"!")
        with socket.create_connection(crowd.listener.getsockname()):
            assert sorted(crowd.take()) == [("listener", compiled.NOT_READ), ("wakeup", compiled.NOT_READ)]
        assert os.read(crowd.wakeup, 10) == b"!"


@pytest.mark.parametrize("way", WAYS)
def test_a_server_says_what_takes_its_turns(way: str, tmp_path: Path) -> None:
    environment = {**os.environ, machine_code.SWITCH: "off" if way == "interpreter" else "", "LAB_OUT": str(tmp_path)}
    command = [sys.executable, "-m", "lab.inside.servers.epoll_compiled_server", "--bind", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        host, port = json.loads(server.stdout.readline())["address"].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as client:
            for number in range(100):
                client.sendall(b"message %02d" % number)
                assert client.recv(100) == b"MESSAGE %02d" % number
        server.terminate()
        _rest, said = server.communicate(timeout=30)
    result = json.loads((tmp_path / "server.json").read_text())
    assert result["turn"].partition(":")[0] == way
    assert ("turns are taken by the interpreter" in said) == (way == "interpreter")
    assert (result["messages"], result["bytes_in"], result["bytes_out"]) == (100, 1000, 1000)
    if result["syscalls"]["method"] == "libc":
        calls = result["syscalls"]["calls"]
        assert all(100 <= calls[name] < 150 for name in ("read", "write", "epoll_wait")), calls
