"""What servers share before their I/O: options, workers, the missing library, and the table of models."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process import PROJECT, ServerProcess, runnable, wait_until

from lab.inside.servers import MODELS

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[ServerProcess] = []

    def start(name: str, *options: str) -> ServerProcess:
        if reason := runnable(MODELS[name]):
            pytest.skip(reason)
        running.append(ServerProcess(MODELS[name], tmp_path, *options))
        return running[-1]

    yield start
    for server in running:
        server.kill()


def run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"lab.inside.servers.{module}", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=60)


def test_every_model_of_the_table_has_its_file_and_every_server_file_its_model() -> None:
    files = {path.stem for path in (PROJECT / "lab/inside/servers").glob("*_server.py")}

    assert {model.module for model in MODELS.values()} == files


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_model_explains_its_mechanism_and_imports_without_its_library(model: object) -> None:
    module = importlib.import_module(f"lab.inside.servers.{model.module}")  # type: ignore[attr-defined]

    assert module.__doc__ is not None
    assert len(module.__doc__.split()) > 80


def test_a_server_loads_none_of_what_costs_more_than_the_interpreter() -> None:
    code = "import sys, lab.inside.servers.{}; print([name for name in {!r} if name in sys.modules])"
    dear = ("argparse", "dataclasses", "inspect", "json", "pathlib", "re", "typing")
    for module in ("epoll_server", "threaded_server", "process_fork_server", "udp_server"):
        command = [sys.executable, "-S", "-c", code.format(module, dear)]
        assert subprocess.check_output(command, cwd=PROJECT, text=True).strip() == "[]", module


def test_the_table_knows_what_a_process_can_hold() -> None:
    assert MODELS["select"].max_connections(20_000) == 1023
    assert MODELS["epoll"].max_connections(20_000) == 20_000 - 32
    assert MODELS["udp"].max_connections(20_000) is None
    assert MODELS["processes-fork"].max_connections(1024) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--handler", "shout"), "unknown handler"),
        (("--framing", "fixed:0"), "framing `fixed`"),
        (("--framing", "fixed:64", "--handler", "respond:4KiB"), "does not fit"),
        (("--set-option", "nodelay"), "NAME=NUMBER"),
        (("--set-option", "fast=1"), "nodelay"),
        (("--workers", "0"), "--workers"),
        (("--recv-size", "0"), "--recv-size"),
        (("--drain", "-1"), "--drain"),
        (("--progress", "soon"), "--progress"),
        (("--queue", "0"), "--queue"),
    ],
)
def test_wrong_options_exit_2_and_name_the_option(options: tuple[str, ...], words: str) -> None:
    ended = run("epoll_server", *options)

    assert ended.returncode == 2
    assert words in ended.stderr


def test_a_model_that_has_no_workers_refuses_them() -> None:
    assert run("threaded_server", "--workers", "2").returncode == 2


def test_an_http_model_speaks_http_only() -> None:
    assert "speaks http only" in run("sanic_server", "--framing", "length").stderr


def test_a_missing_library_exits_3_and_names_the_package() -> None:
    code = (
        "import importlib.util as u, sys, runpy; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'trio' else real(name, *a)\n"
        "sys.argv = ['trio_server']; runpy.run_module('lab.inside.servers.trio_server', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False)

    assert ended.returncode == 3
    assert "the package `trio` is not installed" in ended.stderr
    assert "hint:" in ended.stderr


def test_a_port_in_use_is_told_and_fails(start: Start) -> None:
    server = start("epoll")
    ended = run("epoll_server", "--bind", "127.0.0.1", "--port", str(server.address[1]))

    assert ended.returncode == 1
    assert "Address already in use" in ended.stderr


@pytest.mark.parametrize("name", ["epoll", "blocking", "asyncio-protocol"])
def test_workers_share_the_port_and_their_counts_are_summed(start: Start, name: str) -> None:
    server = start(name, "--workers", "3", "--framing", "length", "--handler", "upper")
    for number in range(30):
        with server.client() as client:
            assert client.exchange(b"message %d" % number) == b"MESSAGE %d" % number
    usage = server.usage()

    result = server.stop()

    assert usage["processes"] == 4
    assert (result["accepted"], result["closed"], result["messages"]) == (30, 30, 30)
    assert result["bytes_in"] == result["bytes_out"] == sum(4 + len(b"message %d" % number) for number in range(30))


def test_a_worker_that_dies_early_fails_the_server(start: Start) -> None:
    server = start("epoll", "--workers", "2")
    worker = wait_until(lambda: [pid for pid in server.pids() if pid != server.process.pid], "a worker")[0]
    os.kill(worker, signal.SIGKILL)

    assert server.process.wait(20) == 1
    assert "ended early with status -9" in server.stderr()


@pytest.mark.parametrize("name", ["epoll", "threads", "processes-fork", "asyncio-streams", "trio", "gevent", "twisted"])
def test_a_peer_that_never_takes_its_answers_cannot_hold_up_the_stop(start: Start, name: str) -> None:
    server = start(name, "--framing", "none", "--handler", "respond:16MiB", "--drain", "0.3", "--progress", "0.05")
    with server.client() as client:
        client.socket.sendall(b"give")
        assert client.socket.recv(1) == b"["  # it has begun to answer, and cannot end

        result = server.stop()

    assert (result["still_open_at_stop"], result["undrained"]) == (1, 1)


def test_an_alarm_in_the_middle_of_the_stops_own_handler_ends_no_drain(tmp_path: Path) -> None:
    """Met once in many runs: the handler had noted that there is a stop, but not yet since when."""
    code = (
        "import signal, sys\n"
        "from lab.inside.servers import startup, threaded_server\n"
        "begin = startup.Server._stop\n"
        "def alarmed(server):\n"
        "    signal.raise_signal(signal.SIGALRM)\n"
        "    begin(server)\n"
        "startup.Server._stop = alarmed\n"
        "startup.run('threads', threaded_server.serve)\n"
    )
    command = [sys.executable, "-c", code, "--bind", "127.0.0.1", "--port", "0"]
    environment = {**os.environ, "LAB_OUT": str(tmp_path)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        host, port = json.loads(server.stdout.readline())["address"].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"before")
            assert client.recv(100) == b"BEFORE"
            server.terminate()
            assert client.recv(100) == b"", "the end of the stream, in order"
        server.communicate(timeout=30)
    result = json.loads((tmp_path / "server.json").read_text())
    assert (result["accepted"], result["closed"], result["undrained"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("name", "handler", "waits"),
    [
        ("threads", "sleep:400ms", False),
        ("asyncio-streams", "sleep:400ms", False),
        ("epoll", "sleep:400ms", True),
        ("threads", "block:400ms", False),
        ("executor-threads", "block:400ms", False),
        ("executor-processes", "sleep:400ms", False),
        ("asyncio-streams", "block:400ms", True),
    ],
)
def test_a_handler_that_sleeps_holds_up_others_only_where_the_thread_serves_them_too(
    start: Start, name: str, handler: str, waits: bool
) -> None:
    server = start(name, "--framing", "length", "--handler", handler)
    with server.client() as first, server.client() as second:
        first.send(b"1")
        second.send(b"2")
        arrived = []
        for client in (first, second):
            client.receive()
            arrived.append(time.monotonic())

    # Served side by side both answers come together; one after the other, a whole pause apart.
    assert (arrived[1] - arrived[0] > 0.3) == waits


def test_select_ends_at_descriptor_1023_with_a_clear_account(start: Start) -> None:
    server = start("select", "--framing", "length", "--handler", "echo", "--backlog", "4096", "--progress", "0.05")
    clients = [server.client() for _ in range(1100)]
    try:
        refused = server.event("progress", lambda told: told["accepted"] == 1100)["accepted"]
        assert clients[0].exchange(b"still served") == b"still served"
    finally:
        for client in clients:
            client.socket.close()

    result = server.stop()

    assert refused == 1100
    assert result["open_peak"] <= 1024
    assert result["refused"] == 1100 - (result["open_peak"] - 1)
    assert "does not fit an fd_set, which ends at 1023" in server.stderr()


def test_signal_driven_survives_the_overflow_of_its_queue(start: Start) -> None:
    server = start("signal-driven", "--framing", "length", "--handler", "cpu:2ms", "--progress", "0.05")
    with_clients = [server.client() for _ in range(50)]
    with_clients[0].exchange(b"warm")
    before = resource.prlimit(server.process.pid, resource.RLIMIT_SIGPENDING)
    resource.prlimit(server.process.pid, resource.RLIMIT_SIGPENDING, (0, before[1]))
    for client in with_clients:
        client.send(b"overflowing")
    answers = [client.receive() for client in with_clients]
    for client in with_clients:
        client.socket.close()

    result = server.stop()

    assert answers == [b"overflowing"] * 50
    assert result["queue_overflows"] > 0
