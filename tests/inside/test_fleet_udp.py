"""The fleet's datagrams: numbered, and told apart into answered, lost, duplicated, reordered and truncated."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fleet_peers import run_fleet

from lab.analysis.latency import read_latency

MS = 1_000_000
Reply = Callable[[int, bytes], list[bytes]]


@contextmanager
def answering(reply: Reply) -> Iterator[list[Any]]:
    """Answer each datagram, the n-th (from 0) of all, with those `reply` gives; yields the address to send to."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    stop_read, stop_write = os.pipe()

    def serve() -> None:
        count = 0
        while True:
            readable, _, _ = select.select([server, stop_read], [], [])
            if stop_read in readable:
                return
            data, address = server.recvfrom(65536)
            for answer in reply(count, data):
                server.sendto(answer, address)
            count += 1

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield list(server.getsockname())
    finally:
        os.write(stop_write, b"x")
        thread.join()
        server.close()
        os.close(stop_read)
        os.close(stop_write)


def udp_plan(target: list[Any], load: dict[str, Any], connections: int = 1) -> dict[str, Any]:
    return {
        "targets": [target],
        "transport": "udp",
        "connections": connections,
        "message": {"bytes": 100, "check": "echo"},
        "phases": [{"phase": "connect"}, {"grace_ns": 100 * MS, **load}, {"phase": "drain"}],
    }


OPEN = {"phase": "load", "model": "open", "rate_per_s": 500, "duration_ns": 200 * MS}
LOADS: dict[str, dict[str, Any]] = {
    "open": OPEN,
    "closed": {"phase": "load", "messages": 25},
    "pipelined": {"phase": "load", "messages": 25, "pipeline": 3},
    "burst": {"phase": "burst", "messages": 25},
    "burst with a gap": {"phase": "burst", "messages": 25, "gap_ns": 2 * MS},
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
def test_every_datagram_of_every_flow_is_numbered_answered_and_logged(load: dict[str, Any], tmp_path: Path) -> None:
    numbers: list[int] = []

    def echo(_count: int, data: bytes) -> list[bytes]:
        numbers.append(struct.unpack_from("!Q", data)[0])
        return [data]

    with answering(echo) as target:
        finished = run_fleet(udp_plan(target, load, connections=4), tmp_path)
    result = finished.result
    assert (result["opened"], result["answered"], result["messages_answered"]) == (4, 4, 100)
    assert sorted(numbers) == sorted(list(range(25)) * 4), "each flow numbers its own from 0, without a gap"
    assert result["datagrams"] == {"lost": 0, "duplicated": 0, "reordered": 0, "truncated": 0}
    assert read_latency(finished.logs(), host="h").filter(kind="message")["service_ns"].null_count() == 0


def test_lost_datagrams_are_counted_and_stay_unanswered_in_the_log(tmp_path: Path) -> None:
    with answering(lambda count, data: [] if count % 10 == 3 else [data]) as target:
        finished = run_fleet(udp_plan(target, OPEN), tmp_path)
    assert finished.result["datagrams"]["lost"] == 10
    assert read_latency(finished.logs(), host="h").filter(kind="message")["done_ns"].null_count() == 10


def test_a_closed_load_goes_on_after_a_loss(tmp_path: Path) -> None:
    load = {"phase": "load", "messages": 5, "grace_ns": 30 * MS}
    with answering(lambda count, data: [] if count == 1 else [data]) as target:
        result = run_fleet(udp_plan(target, load), tmp_path).result
    assert (result["messages_sent"], result["messages_answered"], result["datagrams"]["lost"]) == (5, 4, 1)


def test_duplicates_are_counted_once_each_and_answered_once(tmp_path: Path) -> None:
    with answering(lambda count, data: [data, data] if count < 7 else [data]) as target:
        result = run_fleet(udp_plan(target, OPEN), tmp_path).result
    assert (result["messages_answered"], result["datagrams"]["duplicated"]) == (100, 7)


def test_datagrams_below_the_highest_received_are_reordered(tmp_path: Path) -> None:
    held: list[bytes] = []

    def overtake(count: int, data: bytes) -> list[bytes]:
        if count == 10:
            held.append(data)
            return []
        return [data, held.pop()] if held and count == 12 else [data]

    with answering(overtake) as target:
        result = run_fleet(udp_plan(target, OPEN), tmp_path).result
    assert (result["messages_answered"], result["datagrams"]["reordered"]) == (100, 1)


def test_answers_cut_short_are_truncated(tmp_path: Path) -> None:
    with answering(lambda _count, data: [data[:50]]) as target:
        result = run_fleet(udp_plan(target, OPEN), tmp_path).result
    assert (result["datagrams"]["truncated"], result["wrong_answers"]) == (100, 0)


def test_port_unreachable_is_counted_by_name_and_the_flow_goes_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        target = list(free.getsockname())
    result = run_fleet(udp_plan(target, OPEN), tmp_path).result
    assert result["errors"]["ECONNREFUSED"] >= 50
    assert (result["closed_orderly"], result["closed_early"]) == (1, 0)
