"""The fleet's connections: opened, held, closed, refused, lost; every one of them counted once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_peers import Peer, plan_for, run_fleet, upper

from lab.analysis.latency import read_latency

HOLD = {"phase": "hold", "duration_ns": 100_000_000}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(upper, ports=2) as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_thousand_connections_are_open_at_once_answered_and_closed(peer: Peer, tmp_path: Path) -> None:
    phases = [{"phase": "connect"}, HOLD, {"phase": "load", "messages": 1}, {"phase": "drain"}]
    plan = plan_for(peer, connections=1000, workers=2, phases=phases, close="half")
    finished = run_fleet(plan, tmp_path)
    result = finished.result
    assert (finished.code, finished.stderr) == (0, "")
    names = ("opened", "open_at_once", "answered", "messages_answered", "closed_orderly", "left_open")
    assert [result[name] for name in names] == [1000, 1000, 1000, 1000, 1000, 0]
    assert (peer.accepted, peer.peak, peer.fins, peer.open) == (1000, 1000, 1000, 0)
    assert result["errors"] == {}
    assert [worker["exit_status"] for worker in result["workers"]] == [0, 0]


def test_connections_are_shared_among_workers_and_targets_without_a_remainder_lost(peer: Peer, tmp_path: Path) -> None:
    result = run_fleet(plan_for(peer, connections=101, workers=3), tmp_path).result
    assert result["answered"] == peer.accepted == 101


def test_sources_are_bound_and_their_ports_left_to_the_kernel(tmp_path: Path) -> None:
    seen: list[str] = []
    with Peer(upper, greet=lambda _peer, connection: seen.append(connection.getpeername()[0])) as peer:
        result = run_fleet(plan_for(peer, sources=["127.0.0.2", "127.0.0.3"]), tmp_path).result
    assert result["opened"] == 20
    assert (seen.count("127.0.0.2"), seen.count("127.0.0.3")) == (10, 10)


def test_socket_options_are_set_before_the_handshake(tmp_path: Path) -> None:
    """Only then can the window scale and the MSS that SYN announces follow from them."""
    segments: list[int] = []

    def mss(_peer: Peer, connection: socket.socket) -> None:
        segments.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))

    with Peer(upper, greet=mss) as peer:
        result = run_fleet(plan_for(peer, socket_options={"maxseg": 600, "nodelay": True}), tmp_path).result
    assert result["answered"] == 20
    assert max(segments) <= 600


def test_a_set_rate_spreads_the_connects_of_all_workers_evenly_and_none_comes_early(peer: Peer, tmp_path: Path) -> None:
    plan = plan_for(peer, connections=50, workers=2, connect={"rate_per_s": 250}, phases=[{"phase": "connect"}])
    finished = run_fleet(plan, tmp_path)
    connects = read_latency(finished.logs(), host="client-1").filter(kind="connect").sort("connection")
    assert connects["planned_ns"].diff().drop_nulls().to_list() == [4_000_000] * 49
    assert (connects["sent_ns"] >= connects["planned_ns"]).all()
    assert finished.result["phases"][0]["lateness"]["count"] == 50


def test_refused_connects_are_counted_by_name(closed_port: int, tmp_path: Path) -> None:
    finished = run_fleet(plan_for([["127.0.0.1", closed_port]]), tmp_path)
    result = finished.result
    assert finished.code == 0, "errors are results"
    assert (result["opened"], result["failed"], result["errors"]) == (0, 20, {"ECONNREFUSED": 20})


def test_a_connect_that_nobody_answers_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fill = socket.create_connection(server.getsockname())  # backlog 0 holds one: SYNs after it are dropped
        plan = plan_for([list(server.getsockname())], connections=4, connect={"timeout_ns": 300_000_000})
        result = run_fleet(plan, tmp_path).result
        fill.close()
    assert (result["opened"], result["timed_out"], result["errors"]) == (0, 4, {"ETIMEDOUT": 4})


def test_fin_is_what_the_server_sees_by_default(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        result = run_fleet(plan_for(peer), tmp_path).result
        peer.await_open(0)
    assert result["closed_orderly"] == 20
    assert (peer.fins, peer.resets) == (20, 0)


def test_rst_close_is_seen_by_the_server_as_a_reset(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        result = run_fleet(plan_for(peer, close="rst"), tmp_path).result
        peer.await_open(0)
    assert result["closed_orderly"] == 20, "orderly means: as the plan said, without an error"
    assert (peer.resets, peer.fins) == (20, 0)


def test_half_close_times_out_where_the_server_keeps_its_side_open(tmp_path: Path) -> None:
    with Peer(upper, keeps_open=True) as peer:
        drain = {"wait_peer_close_ns": 200_000_000}
        result = run_fleet(plan_for(peer, connections=3, close="half", drain=drain), tmp_path).result
    assert (result["timed_out"], result["closed_orderly"]) == (3, 0)


def test_a_server_that_closes_early_is_found_out_while_holding(tmp_path: Path) -> None:
    def leave_every_second(peer: Peer, connection: socket.socket) -> None:
        if peer.accepted % 2:
            peer.close(connection)

    with Peer(upper, greet=leave_every_second) as peer:
        result = run_fleet(plan_for(peer, phases=[{"phase": "connect"}, HOLD, {"phase": "drain"}]), tmp_path).result
    assert (result["opened"], result["closed_early"], result["closed_orderly"]) == (20, 10, 10)
    assert result["phases"][1]["open_at_end"] == 10


def test_resets_by_the_server_are_counted_and_their_requests_never_answered(tmp_path: Path) -> None:
    with Peer(lambda peer, connection, _data: peer.reset(connection)) as peer:
        result = run_fleet(plan_for(peer), tmp_path).result
    assert (result["reset_by_peer"], result["unanswered"], result["answered"]) == (20, 20, 0)
    assert result["errors"] == {"ECONNRESET": 20}


def test_no_process_outlives_the_fleet(peer: Peer, tmp_path: Path) -> None:
    result = run_fleet(plan_for(peer, workers=2), tmp_path).result
    assert not [worker["pid"] for worker in result["workers"] if os.path.exists(f"/proc/{worker['pid']}")]


def test_too_few_descriptors_are_refused_with_the_number_of_workers_it_takes(peer: Peer, tmp_path: Path) -> None:
    finished = run_fleet(plan_for(peer, connections=1000), tmp_path, descriptors=512)
    assert finished.code == 3
    assert "needs 1032 descriptors, got 512" in finished.stderr
    assert "hint: raise workers to 4" in finished.stderr
    assert peer.accepted == 0
