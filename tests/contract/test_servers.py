"""One suite over every TCP model, on real sockets. What a mechanism cannot do it declares, and then that is asserted.

One process a model serves all its tests; the last one stops it and checks what it counted.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
from server_process import CROWD, TCP, ServerProcess, runnable, wait_until

from lab.inside.framing import FramingError
from lab.inside.servers import Model

POOL = 3
MIB = 1024 * 1024


@pytest.fixture(
    scope="module",  # one process of each model lives through all tests, and its last one looks at what it counted
    params=[pytest.param(model, id=model.name) for model in TCP],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    model: Model = request.param
    if reason := runnable(model):
        pytest.skip(reason)
    options = [
        "--handler",
        "echo",
        "--framing",
        model.framing or "length",
        "--pool",
        str(POOL),
        "--recv-size",
        "16384",
        "--progress",
        "0.05",
    ]
    running = ServerProcess(model, tmp_path_factory.mktemp(model.name), *options)
    yield running
    running.kill()


def all_closed(server: ServerProcess) -> None:
    """Wait until the server has closed all connections opened so far."""
    server.event("progress", lambda told: told["accepted"] >= server.connected and told["open"] == 0)


def test_one_byte_writes_make_whole_messages(server: ServerProcess) -> None:
    with server.client() as client:
        for byte in client.framing.encode(b"one by one") + client.framing.encode(b""):
            client.socket.sendall(bytes([byte]))

        assert [client.receive(1), client.receive(1)] == [b"one by one", b""]


def test_messages_joined_in_one_write_come_apart(server: ServerProcess) -> None:
    messages = [b"%d" % number for number in range(100)]
    with server.client() as client:
        client.socket.sendall(b"".join(map(client.framing.encode, messages)))

        assert [client.receive() for _ in messages] == messages


def test_a_message_of_a_mebibyte_comes_back_whole(server: ServerProcess) -> None:
    message = bytes(range(256)) * 4096
    with server.client() as client:
        assert client.exchange(message) == message


def test_after_a_half_close_every_answer_still_comes(server: ServerProcess) -> None:
    messages = [b"a" * 50_000, b"b", b"c"]
    with server.client() as client:
        client.socket.sendall(b"".join(map(client.framing.encode, messages)))
        client.socket.shutdown(socket.SHUT_WR)
        answers = client.rest()

    if "half-close" in server.model.cannot:
        assert answers == messages[: len(answers)]  # some may be lost, but the connection ends, and nothing is wrong
    else:
        assert answers == messages


def test_a_reset_in_the_middle_of_a_message_harms_nobody_else(server: ServerProcess) -> None:
    broken = server.client()
    assert broken.exchange(b"first") == b"first"  # it is being served
    broken.socket.sendall(broken.framing.encode(b"second")[:-3])
    broken.reset()

    with server.client() as client:
        assert client.exchange(b"still there") == b"still there"


def test_a_broken_frame_ends_its_connection_only(server: ServerProcess) -> None:
    with server.client() as client:
        assert client.exchange(b"good") == b"good"
        client.socket.sendall(struct.pack("!I", 0xFFFFFFFF) + b"\r\n\r\n")
        server.broken_frames += server.model.framing != "http"
        if server.model.framing == "http":
            with pytest.raises(FramingError, match="400 Bad Request"):
                client.rest()
        else:
            assert client.rest() == []

    with server.client() as client:
        assert client.exchange(b"still there") == b"still there"


def test_a_client_that_never_sends_keeps_out_only_whom_the_model_says(server: ServerProcess) -> None:
    seats = {"one": 1, "pool": POOL, "all": 5}[server.model.at_once]
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.client()) for _ in range(seats)]
        if server.model.at_once == "all":
            assert stack.enter_context(server.client()).exchange(b"served") == b"served"
            return
        for client in silent:
            client.exchange(b"seated")
        waiting = stack.enter_context(server.client())
        waiting.send(b"served at last")
        assert waiting.silent_for(0.15)
        silent[0].socket.close()

        assert waiting.receive() == b"served at last"


def test_a_thousand_quick_connects_leave_nothing_behind(server: ServerProcess) -> None:
    with server.client() as client:
        client.exchange(b"warm")
    all_closed(server)
    descriptors, processes = server.descriptors(), len(server.pids())

    starts_a_process = server.model.descriptors_each == 0 or server.model.name.startswith("processes-")
    for _ in range(8 if server.model.name == "processes-spawn" else 60 if starts_a_process else 1000):
        with server.client():
            pass
    with server.client() as client:
        assert client.exchange(b"still there") == b"still there"

    all_closed(server)
    wait_until(
        lambda: (server.descriptors(), len(server.pids())) == (descriptors, processes),
        f"{descriptors} descriptors and {processes} processes",
        lambda: (server.descriptors(), len(server.pids())),
    )


def test_a_client_that_does_not_read_is_not_read_from(server: ServerProcess) -> None:
    message = bytes(256 * 1024)
    with server.client() as client:
        client.exchange(b"warm")
        memory = server.usage()["rss_bytes"]
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        frame = client.framing.encode(message)
        stream = memoryview(frame * 128)  # 32 MiB: more than all socket buffers on the way can hold
        pushed = 0
        client.socket.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            while pushed < len(stream):
                pushed += client.socket.send(stream[pushed : pushed + 65536])
        assert pushed < len(stream), "the server took everything from a client that takes nothing"

        # Blocked on both sides: nothing to do, and little kept.
        grown = server.usage()["rss_bytes"] - memory
        assert grown < 16 * MIB
        if "idle" in server.model.cannot:
            assert server.busy() > 0.1
        else:
            assert server.becomes_quiet()

        client.socket.settimeout(20)
        whole = pushed // len(frame)
        assert [len(client.receive()) for _ in range(whole)] == [len(message)] * whole


def test_out_of_descriptors_it_neither_dies_nor_spins(server: ServerProcess) -> None:
    with server.client() as client:
        client.exchange(b"warm")
    all_closed(server)
    server.starved = True
    with contextlib.ExitStack() as stack:
        if server.model.at_once == "all" and server.model.descriptors_each == 1:
            stack.enter_context(server.out_of_descriptors(left=CROWD // 2))
            crowd = [stack.enter_context(server.client()) for _ in range(CROWD)]
        else:  # few connections stay with the process that accepts
            stack.enter_context(server.out_of_descriptors())
            # A blocked accept took its descriptor before it fell asleep: each gets one client more.
            crowd = [server.client() for _ in range(POOL)]
            for client in crowd:
                client.silent_for(0.02)
                client.socket.close()
        waiting = server.client()
        waiting.send(b"patient")
        if "idle" not in server.model.cannot:
            assert server.becomes_quiet()
        waits = waiting.silent_for(0.05)
        if "wait-for-descriptors" in server.model.cannot:  # closed by the library, which told nobody
            server.connected -= sum(not client.silent_for(0.01) for client in [*crowd, waiting])

    assert waits == ("wait-for-descriptors" not in server.model.cannot)
    if waits:
        assert waiting.receive() == b"patient"
    waiting.socket.close()
    with server.client() as client:
        assert client.exchange(b"still there") == b"still there"


def test_the_stop_answers_what_was_received_and_counts_exactly(server: ServerProcess) -> None:
    seats = {"one": 1, "pool": POOL, "all": 4}[server.model.at_once]
    clients = [server.client() for _ in range(seats + 2)]  # more than a pool serves: some wait in the queue
    for client in clients:
        client.socket.sendall(b"".join(client.framing.encode(b"%d" % number) for number in range(200)))
    answered = [client.receive() for client in clients[:seats]]

    result = server.stop()

    assert answered == [b"0"] * seats
    for number, client in enumerate(clients):
        answers = client.rest()
        assert answers == [b"%d" % number for number in range(number < seats, 200)]
        client.socket.close()
    assert result["accepted"] == result["closed"] == server.connected
    assert result["undrained"] == 0
    assert result["aborted"] <= 2  # the reset, and the client that was reset in its turn for what it had left unread
    assert result["malformed"] == server.broken_frames
    if server.starved and "wait-for-descriptors" not in server.model.cannot:
        assert result["accept_errors"] > 0
