"""Over every model: its boundary log is what passed on the wire, byte for byte and message for message.

The wire is what the client's kernel took and gave: with one message under way at a time, and TCP_NODELAY, a segment is
a send of the one end and a recv of the other, so the client's own calls tell where each segment began and ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from server_process import TCP, UDP, ServerProcess, runnable

from lab.inside.numbered import HEAD
from lab.inside.servers import MODELS, Model

LOGGED = 2
ABLE = [model for model in MODELS.values() if "boundaries" not in model.cannot]
UNABLE = [model for model in MODELS.values() if "boundaries" in model.cannot]


def by_model(models: list[Model]) -> Any:
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


@pytest.fixture
def running() -> Iterator[list[ServerProcess]]:
    servers: list[ServerProcess] = []
    yield servers
    for server in servers:
        server.kill()


def start(running: list[ServerProcess], model: Model, folder: Path) -> ServerProcess:
    if reason := runnable(model):
        pytest.skip(reason)
    framing = model.framing or ("none" if model.transport == "udp" else "length")
    options = ["--handler", "echo", "--framing", framing, "--boundaries", str(LOGGED), "--set-option"]
    options += ["rcvbuf=212992"] if model.transport == "udp" else ["nodelay=1"]
    running.append(ServerProcess(model, folder, *options))
    return running[-1]


def stored(folder: Path) -> list[dict[str, Any]]:
    """Every logged connection, of all the server's processes, in the order of their first calls."""
    files = folder.glob("boundaries-server-*.json")
    return sorted(
        (one for file in files for one in json.loads(file.read_text())["connections"]),
        key=lambda one: one["calls"][0][4],
    )


def spans(log: dict[str, Any], kind: str) -> list[tuple[int, int]]:
    return [(call[1], call[1] + call[2]) for call in log["calls"] if call[0] == kind]


@by_model([model for model in TCP if model in ABLE])
def test_the_log_is_what_the_wire_showed(model: Model, running: list[ServerProcess], tmp_path: Path) -> None:
    server = start(running, model, tmp_path)
    messages = [b"a" * 7, b"b" * 100, b"c" * 1000]
    addresses = []
    for _ in range(LOGGED + 1):
        with server.client() as client:
            addresses.append(client.socket.getsockname())
            requests = [client.framing.encode(message) for message in messages]
            assert [client.exchange(message) for message in messages] == messages
    whole = server.client()
    with whole as client:
        assert client.exchange(b"d" * 300_000) == b"d" * 300_000
    server.stop()

    logs = stored(tmp_path)
    process_each = model.descriptors_each == 0 or model.name == "processes-spawn"
    if model.scale != "pool" or process_each:  # in a pool of processes each has its own first connections
        assert [tuple(log["remote"]) for log in logs][:LOGGED] == addresses[:LOGGED]
    ends = list(accumulate(map(len, requests)))
    wire = list(pairwise([0, *ends]))
    for log in logs:
        assert log["local"] == list(server.address)
        assert log["options"][0][1]["nodelay"] == 1
        if tuple(log["remote"]) not in addresses:
            continue
        assert spans(log, "recv") == wire
        assert log["taken"] == ends
        answers = spans(log, "send")
        assert [end for _, end in answers][-1] == log["sent"][-1]
        assert len(log["sent"]) == len(messages)
        if model.framing is None:
            assert answers == wire
            assert log["sent"] == ends
        assert all(call[4] <= call[5] for call in log["calls"]), "a call ends after it began"
        assert log["left_out"] == 0


@by_model([model for model in UDP if model in ABLE])
def test_every_datagram_stands_in_the_log_with_its_number(
    model: Model, running: list[ServerProcess], tmp_path: Path
) -> None:
    import socket

    server = start(running, model, tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(server.address)
        for number in range(5):
            client.send(HEAD.pack(number, 0) + b"x" * number)
            assert len(client.recv(2000)) == HEAD.size + number
        mine = client.getsockname()
    server.stop()

    (log,) = stored(tmp_path)
    assert (log["protocol"], tuple(log["remote"]), log["local"]) == ("udp", mine, list(server.address))
    for kind in ("recv", "send"):
        calls = [call for call in log["calls"] if call[0] == kind]
        assert [call[7] for call in calls] == [0, 1, 2, 3, 4]
        assert [call[2] for call in calls] == [call[6] for call in calls] == [16, 17, 18, 19, 20]


@by_model(UNABLE)
def test_a_model_that_cannot_log_says_so(model: Model, tmp_path: Path) -> None:
    from test_server_options import run

    ended = run(model.module, "--boundaries", "1")

    assert ended.returncode == 2
    assert f"--boundaries: {model.name}" in ended.stderr
