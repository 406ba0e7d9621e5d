"""The actor on real sockets of 127.0.0.1: what each step gives, and that nothing it is not told to do happens."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SECOND = 1_000_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


def act(folder: Path, *steps: dict[str, Any], code: int = 0) -> list[dict[str, Any]]:
    """Run the actor by hand through these steps; return what became of each that was begun."""
    defaults = {"within": 5 * SECOND, "turn": 0, "options": {}, "buffer": 65536, "wait": True}
    plan = {"name": "here", "steps": [{"index": i, **defaults, **step} for i, step in enumerate(steps)]}
    environment = {key: value for key, value in os.environ.items() if key != "LAB_BARRIER"}
    done = subprocess.run(
        [sys.executable, "-m", "lab.inside.script.actor", "--plan", json.dumps(plan)],
        env={**environment, "LAB_OUT": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    return list(json.loads((folder / "actor.json").read_text())["steps"])


def pair(port: int, **options: Any) -> Sequence[dict[str, Any]]:
    """The steps that connect `c` with `s`."""
    return (
        {"do": "listen", "as": "l", "port": port, "backlog": 8, "options": {"reuseaddr": True}},
        {"do": "connect", "as": "c", "address": "127.0.0.1", "port": port, **options},
        {"do": "accept", "socket": "l", "as": "s"},
    )


def outcomes(rows: list[dict[str, Any]]) -> list[str]:
    return [row["outcome"] for row in rows]


def test_bytes_arrive_and_each_call_is_logged_with_its_offset(tmp_path: Path, port: int) -> None:
    rows = act(
        tmp_path,
        *pair(port),
        {"do": "send", "socket": "c", "size": 10, "times": 3},
        {"do": "recv", "socket": "s", "size": 30, "buffer": 20},
    )
    assert [row["as_written"] for row in rows] == [True] * 5
    assert [call[:2] for call in rows[3]["calls"]] == [[0, 10], [10, 10], [20, 10]]
    assert rows[4]["bytes"] == 30
    assert [offset for offset, _, _ in rows[4]["calls"]] == [
        sum(length for _, length, _ in rows[4]["calls"][:place]) for place in range(len(rows[4]["calls"]))
    ]


def test_text_that_differs_is_not_as_written(tmp_path: Path, port: int) -> None:
    send, recv = {"do": "send", "socket": "c", "text": "hello"}, {"do": "recv", "socket": "s", "text": "help!"}
    assert outcomes(act(tmp_path, *pair(port), send, recv))[-1] == "differs"


def test_a_refused_connect_is_as_written_only_if_the_script_says_so(tmp_path: Path, port: int) -> None:
    connect = {"do": "connect", "as": "c", "address": "127.0.0.1", "port": port}
    for gives, as_written in (("ECONNREFUSED", True), (None, False)):
        (row,) = act(tmp_path, {**connect, "gives": gives})
        assert (row["outcome"], row["as_written"]) == ("ECONNREFUSED", as_written)


def test_the_first_step_that_is_not_as_written_is_the_last(tmp_path: Path, port: int) -> None:
    connect = {"do": "connect", "as": "c", "address": "127.0.0.1", "port": port}
    assert outcomes(act(tmp_path, connect, {"do": "pause", "duration": 0})) == ["ECONNREFUSED"]


def test_a_call_that_waits_too_long_blocks(tmp_path: Path, port: int) -> None:
    rows = act(tmp_path, *pair(port), {"do": "recv", "socket": "s", "within": SECOND // 50, "gives": "blocks"})
    assert rows[-1]["as_written"]


def test_the_end_of_the_stream_is_told_from_no_data(tmp_path: Path, port: int) -> None:
    rows = act(
        tmp_path,
        *pair(port),
        {"do": "send", "socket": "c", "text": "bye"},
        {"do": "shutdown", "socket": "c", "how": "write"},
        {"do": "recv", "socket": "s", "until": "eof", "bytes": 3},
        {"do": "recv", "socket": "s", "gives": "eof"},
    )
    assert [row["as_written"] for row in rows] == [True] * 7


def test_states_follow_the_calls_to_time_wait(tmp_path: Path, port: int) -> None:
    rows = act(
        tmp_path,
        *pair(port),
        {"do": "close", "socket": "c"},
        {"do": "await", "socket": "c", "state": "FIN-WAIT-2"},
        {"do": "await", "socket": "s", "state": "CLOSE-WAIT"},
        {"do": "look", "as": "between"},
        {"do": "close", "socket": "s"},
        {"do": "await", "socket": "c", "state": "TIME-WAIT"},
        {"do": "await", "socket": "s", "state": "CLOSED"},
    )
    assert all(row["as_written"] for row in rows)
    seen = {one["socket"]: one["state"] for one in rows[6]["sockets"] if one["socket"]}
    assert seen == {"l": "LISTEN", "c": "FIN-WAIT-2", "s": "CLOSE-WAIT"}


def test_a_state_that_does_not_come_tells_what_was_seen_last(tmp_path: Path, port: int) -> None:
    rows = act(tmp_path, *pair(port), {"do": "await", "socket": "c", "state": "CLOSING", "within": SECOND // 50})
    assert rows[-1]["outcome"] == "blocks"
    assert "'state': 'ESTABLISHED'" in rows[-1]["error"]


def test_an_abort_resets_the_other_side(tmp_path: Path, port: int) -> None:
    rows = act(
        tmp_path,
        *pair(port),
        {"do": "abort", "socket": "c"},
        {"do": "recv", "socket": "s", "gives": "ECONNRESET"},
        {"do": "await", "socket": "c", "state": "CLOSED"},
    )
    assert all(row["as_written"] for row in rows)


def test_background_steps_of_one_socket_run_in_their_order(tmp_path: Path, port: int) -> None:
    rows = act(
        tmp_path,
        *pair(port),
        {"do": "recv", "socket": "s", "until": "eof", "as": "end", "wait": False},
        {"do": "close", "socket": "s", "as": "closed", "wait": False},
        {"do": "pause", "duration": SECOND // 50},
        {"do": "close", "socket": "c"},
        {"do": "join", "step": "closed"},
    )
    end, closed, pause = rows[3], rows[4], rows[5]
    assert outcomes(rows) == ["ok"] * 8
    assert pause["end_ns"] < end["end_ns"] <= closed["begin_ns"] or end["end_ns"] <= closed["end_ns"]


def test_the_accept_queue_shows_connections_nobody_has_accepted(tmp_path: Path, port: int) -> None:
    rows = act(tmp_path, *pair(port)[:2], {"do": "await", "socket": "l", "accept_queue": 1})
    assert rows[-1]["as_written"]


def test_a_socket_that_no_step_made_is_a_bad_descriptor(tmp_path: Path, port: int) -> None:
    late = {"do": "accept", "socket": "l", "as": "s", "within": SECOND // 50, "gives": "blocks"}
    rows = act(tmp_path, pair(port)[0], late, {"do": "close", "socket": "s"})
    assert outcomes(rows) == ["ok", "blocks", "EBADF"]


def test_a_look_at_an_open_connection_tells_what_tcp_knows_of_it(tmp_path: Path, port: int) -> None:
    rows = act(tmp_path, *pair(port), {"do": "look", "as": "now"})
    (client,) = [one for one in rows[-1]["sockets"] if one["socket"] == "c"]
    assert client["snd_mss"] > 500
    assert client["total_retransmits"] == 0
    assert client["cwnd"] >= 2
