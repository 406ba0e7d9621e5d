"""One suite over every UDP model: a datagram in is a message, and an answer is a datagram."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import UDP, ServerProcess

from lab.inside.servers import Model


@pytest.fixture(params=UDP, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> Model:
    chosen: Model = request.param
    return chosen


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        yield sock


@pytest.fixture
def start(model: Model, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    running: list[ServerProcess] = []
    yield running
    for server in running:
        server.kill()


def started(running: list[ServerProcess], model: Model, folder: Path, *options: str) -> ServerProcess:
    running.append(ServerProcess(model, folder, *options))
    return running[-1]


def test_datagrams_are_never_joined_and_the_stop_answers_all_that_came(
    model: Model, start: list[ServerProcess], tmp_path: Path, client: socket.socket
) -> None:
    server = started(start, model, tmp_path, "--framing", "none", "--handler", "upper")
    client.connect(server.address)
    sent = [b"datagram %d" % number for number in range(100)]
    client.send(b"first")
    assert client.recv(2000) == b"FIRST"
    for message in sent:
        client.send(message)

    result = server.stop()

    answers = [client.recv(2000) for _ in sent]
    assert sorted(answers) == sorted(message.upper() for message in sent)
    if model.name != "socketserver-threading-udp":  # there two threads may overtake each other
        assert answers == [message.upper() for message in sent]
    received = sum(map(len, sent)) + len(b"first")
    assert (result["messages"], result["bytes_in"], result["bytes_out"]) == (101, received, received)
    assert (result["dropped"], result["truncated"], result["send_errors"]) == (0, 0, 0)


def test_what_the_receive_buffer_cannot_hold_is_counted_as_dropped(
    model: Model, start: list[ServerProcess], tmp_path: Path, client: socket.socket
) -> None:
    # The handler is slower than the sender, and the buffer small (the kernel makes at least 2304 bytes of it).
    options = ("--framing", "none", "--handler", "cpu:200us", "--set-option", "rcvbuf=2304")
    server = started(start, model, tmp_path, *options)
    client.connect(server.address)
    for _ in range(300):
        client.send(bytes(1000))

    result = server.stop()

    assert result["messages"] + result["dropped"] == 300
    assert result["dropped"] > 0


def test_a_datagram_longer_than_the_recv_size_is_cut(
    model: Model, start: list[ServerProcess], tmp_path: Path, client: socket.socket
) -> None:
    server = started(start, model, tmp_path, "--framing", "none", "--handler", "echo", "--recv-size", "1000")
    client.connect(server.address)
    client.send(bytes(1500))
    answer = client.recv(2000)

    result = server.stop()

    if model.name == "udp-asyncio":  # receives into 256 KiB, whatever is asked
        assert (len(answer), result["truncated"]) == (1500, 0)
    else:
        assert len(answer) == 1000
        # recvmsg tells; socketserver's recvfrom does not
        assert result["truncated"] == (0 if model.name.startswith("socketserver") else 1)


def test_with_a_framing_a_datagram_holds_whole_messages(
    model: Model, start: list[ServerProcess], tmp_path: Path, client: socket.socket
) -> None:
    server = started(start, model, tmp_path, "--framing", "length", "--handler", "echo")
    client.connect(server.address)
    client.send(b"\x00\x00\x00\x05cut")
    client.send(b"\x00\x00\x00\x02ok")

    assert client.recv(2000) == b"\x00\x00\x00\x02ok"
    assert server.stop()["malformed"] == 1
