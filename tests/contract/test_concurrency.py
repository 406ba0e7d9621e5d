"""What threads, processes, pools and a bounded queue share, bound and hold back: on real servers and sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess, wait_until

from lab.inside.servers import MODELS

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[ServerProcess] = []

    def start(name: str, *options: str) -> ServerProcess:
        running.append(ServerProcess(MODELS[name], tmp_path, "--framing", "length", *options))
        return running[-1]

    yield start
    for server in running:
        server.kill()


@pytest.mark.parametrize("name", ["threads", "threads-class", "asyncio-streams", "executor-threads"])
def test_threads_and_coroutines_count_in_one_memory(start: Start, name: str) -> None:
    server = start(name, "--handler", "locked-tickets:0ms")
    with server.client() as first, server.client() as second:
        numbers = [client.exchange(b"one, please") for client in (first, second, first, second)]

    assert numbers == [b"ticket 1", b"ticket 2", b"ticket 3", b"ticket 4"]


@pytest.mark.parametrize("name", ["processes-fork", "processes-target", "processes-class", "processes-spawn"])
def test_each_process_counts_in_a_memory_of_its_own(start: Start, name: str) -> None:
    server = start(name, "--handler", "locked-tickets:0ms")
    with server.client() as first, server.client() as second:
        numbers = [client.exchange(b"one, please") for client in (first, second, first, second)]

    assert numbers == [b"ticket 1", b"ticket 1", b"ticket 2", b"ticket 2"]


@pytest.mark.parametrize("name", ["executor-threads", "executor-processes"])
def test_silent_clients_hold_no_worker_of_an_executor(start: Start, name: str) -> None:
    server = start(name, "--pool", "1", "--handler", "echo")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(server.client()).exchange(b"seated") == b"seated"

        assert stack.enter_context(server.client()).exchange(b"served") == b"served"


@pytest.mark.parametrize("name", ["executor-threads", "executor-processes"])
def test_an_executor_works_on_as_many_messages_as_its_pool_has_workers(start: Start, name: str) -> None:
    server = start(name, "--pool", "2", "--handler", "block:150ms")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(5)]
        begun = time.monotonic()
        for client in clients:
            client.send(b"work")
        for client in clients:
            client.receive()

    assert time.monotonic() - begun >= 3 * 0.15  # five messages, two at a time


def test_a_worker_process_that_is_killed_ends_the_server_with_a_clear_account(start: Start) -> None:
    server = start("executor-processes", "--pool", "2")
    with server.client() as client:
        client.exchange(b"warm")
        workers = [pid for pid in server.pids() if pid != server.process.pid]
        os.kill(workers[0], signal.SIGKILL)  # one is enough: it breaks the pool

        def asked_and_ended() -> bool:
            with contextlib.suppress(OSError):
                client.send(b"lost")  # the first may still be answered, by the other worker: it was quicker
            return server.process.poll() is not None

        wait_until(asked_and_ended, "the end of the server", server.stderr)
    assert server.process.returncode == 1
    assert len(workers) == 2
    assert "The server stops." in server.stderr()


def test_the_workers_of_an_executor_end_with_a_server_that_is_killed(start: Start) -> None:
    server = start("executor-processes", "--pool", "2")
    wait_until(lambda: len(server.pids()) == 3, "two workers", server.pids)
    server.process.kill()
    server.process.wait(20)

    wait_until(lambda: not server.pids(), "no process left", server.pids)


def test_a_full_queue_stops_the_receiving_and_nothing_is_lost(start: Start) -> None:
    server = start("producer-consumer", "--queue", "2", "--handler", "block:20ms", "--recv-size", "1024")
    with server.client() as client:
        for number in range(20):
            client.send(b"%d" % number)
        answers = [client.receive() for _ in range(20)]

    assert answers == [b"%d" % number for number in range(20)]
    assert server.stop()["queue_peak"] == 2
