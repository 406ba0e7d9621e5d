"""What the actor's boundary log holds, and its framed and datagram calls, on real sockets of 127.0.0.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.inside.test_actor import SECOND, act, free_port, outcomes, pair


def logs(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "boundaries-actor.json").read_text())["connections"])


def spans(log: dict[str, Any], kind: str) -> list[tuple[int, int, int]]:
    """Offset, length and what was asked for, of each call of one kind."""
    return [tuple(call[1:4]) for call in log["calls"] if call[0] == kind]


def test_every_call_and_every_message_stands_in_the_log(tmp_path: Path) -> None:
    rows = act(
        tmp_path,
        *pair(free_port()),
        {"do": "set-option", "socket": "c", "option": "nodelay", "value": 1},
        {"do": "send", "socket": "c", "size": 10, "times": 2},
        {"do": "await", "socket": "s", "recv_queue": 20},
        {"do": "recv", "socket": "s", "buffer": 15},
        {"do": "recv", "socket": "s", "buffer": 15},
    )
    assert outcomes(rows) == ["ok"] * 8
    client, server = logs(tmp_path)
    assert (client["local"], client["remote"]) == (server["remote"], server["local"])
    assert spans(client, "send") == [(0, 10, 10), (10, 10, 10)]
    assert client["sent"] == [10, 20]
    assert spans(server, "recv") == [(0, 15, 15), (15, 5, 15)]
    assert server["taken"] == [15, 20], "a program that knows no framing takes each recv for a message"
    assert client["options"][-1][1]["nodelay"] == 1


def test_a_framed_recv_takes_whole_messages_and_keeps_the_start_of_the_next(tmp_path: Path) -> None:
    for framing, marks in (("length", 4), ("delimiter:\\n", 1), ("json-header", 18), ("fixed:10", 0)):
        rows = act(
            tmp_path,
            *pair(free_port()),
            {"do": "send", "socket": "c", "size": 10, "times": 3, "framing": framing},
            {"do": "recv", "socket": "s", "framing": framing, "buffer": 7, "size": 10},
            {"do": "recv", "socket": "s", "framing": framing, "buffer": 4096, "size": 10, "times": 2},
        )
        assert outcomes(rows) == ["ok"] * 6, framing
        assert [row["messages"] for row in rows[4:]] == [1, 2]
        assert logs(tmp_path)[1]["taken"] == [(10 + marks) * n for n in (1, 2, 3)]


def test_a_broken_framing_gives_ebadmsg(tmp_path: Path) -> None:
    rows = act(
        tmp_path,
        *pair(free_port()),
        {"do": "send", "socket": "c", "text": "\xff\xff\xff\xff and so on"},
        {"do": "recv", "socket": "s", "framing": "json-header", "gives": "EBADMSG"},
    )
    assert rows[-1]["as_written"]
    assert "json-header" in rows[-1]["error"]


def test_datagrams_are_numbered_never_joined_and_cut_by_a_small_buffer(tmp_path: Path) -> None:
    port = free_port()
    rows = act(
        tmp_path,
        {"do": "bind", "as": "s", "port": port},
        {"do": "connect", "as": "c", "protocol": "udp", "address": "127.0.0.1", "port": port},
        {"do": "send", "socket": "c", "size": 100, "times": 3},
        {"do": "recv", "socket": "s", "times": 2},
        {"do": "recv", "socket": "s", "buffer": 60},
        {"do": "recv", "socket": "s", "gives": "blocks", "within": SECOND // 20},
        {"do": "send", "socket": "s", "text": "answer"},
        {"do": "recv", "socket": "c", "text": "answer"},
    )
    assert [row["as_written"] for row in rows] == [True] * 8
    assert [row.get("truncated") for row in rows if row["do"] == "recv"] == [0, 1, 0, 0]
    server = next(log for log in logs(tmp_path) if log["local"][1] == port)
    assert [call[2:4] + call[6:] for call in server["calls"] if call[0] == "recv"] == [
        [100, 65536, 100, 0],
        [100, 65536, 100, 1],
        [60, 60, 100, 2],
    ]


def test_a_bound_socket_that_heard_from_nobody_cannot_send(tmp_path: Path) -> None:
    rows = act(
        tmp_path,
        {"do": "bind", "as": "s", "port": free_port()},
        {"do": "send", "socket": "s", "text": "to whom", "gives": "ENOTCONN"},
    )
    assert rows[-1]["as_written"]
