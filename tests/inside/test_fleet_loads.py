"""The fleet's loads: how many messages each model sends, what it makes of answers, and what its log tells of stalls."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from fleet_peers import Peer, echo, plan_for, run_fleet, upper

from lab.analysis.latency import read_latency
from lab.inside.framing import parse_framing

MS = 1_000_000


def phases(*loads: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"phase": "connect"}, *loads, {"phase": "drain"}]


CLOSED_FORMS: dict[str, dict[str, Any]] = {
    "fast": {},
    "pipelined": {"pipeline": 4},
    "thinking": {"think_ns": MS},
    "concurrency": {"concurrency": 3},
    "thinking under a cap": {"think_ns": MS, "concurrency": 3},
}


@pytest.mark.parametrize("form", CLOSED_FORMS.values(), ids=CLOSED_FORMS.keys())
def test_a_closed_load_of_n_messages_sends_and_answers_exactly_n_on_each_connection(
    form: dict[str, Any], tmp_path: Path
) -> None:
    with Peer(upper) as peer:
        plan = plan_for(peer, workers=2, phases=phases({"phase": "load", "messages": 7, **form}))
        finished = run_fleet(plan, tmp_path)
    result = finished.result
    assert (result["messages_sent"], result["messages_answered"], peer.received) == (140, 140, 140 * 64)
    log = read_latency(finished.logs(), host="client-1").filter(kind="message")
    assert log["connection"].value_counts().sort("connection").rows() == [(i, 7) for i in range(20)]


def test_a_closed_load_ends_with_its_duration_and_every_request_answered(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        result = run_fleet(plan_for(peer, phases=phases({"phase": "load", "duration_ns": 200 * MS})), tmp_path).result
    load = result["phases"][1]
    assert load["counts"]["sent"] == load["counts"]["received"] > 20
    assert load["end_ns"] - load["begin_ns"] >= 200 * MS
    assert result["wrong_answers"] == 0


def test_concurrency_bounds_how_many_connections_ask_at_once(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        plan = plan_for(peer, phases=phases({"phase": "load", "messages": 5, "concurrency": 4}))
        finished = run_fleet(plan, tmp_path)
    log = read_latency(finished.logs(), host="client-1").filter(kind="message")
    begins = [(t, 1) for t in log["sent_ns"]] + [(t, -1) for t in log["done_ns"]]
    busy = peak = 0
    for _time, change in sorted(begins):
        busy += change
        peak = max(peak, busy)
    assert peak == 4


def test_only_the_active_share_is_asked(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        load = {"phase": "load", "messages": 2, "active_share": 0.25}
        finished = run_fleet(plan_for(peer, workers=2, phases=phases(load)), tmp_path)
    result = finished.result
    assert (result["opened"], result["answered"], result["messages_answered"]) == (20, 5, 10)


def test_an_open_load_starts_every_arrival_its_rate_plans(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        load = {"phase": "load", "model": "open", "rate_per_s": 500, "duration_ns": 400 * MS}
        finished = run_fleet(plan_for(peer, workers=2, phases=phases(load)), tmp_path)
    assert finished.result["arrivals"] == {"planned": 200, "started": 200, "not_started": 0}
    assert finished.result["messages_answered"] == 200
    log = read_latency(finished.logs(), host="client-1").filter(kind="message")
    gaps = log.sort("planned_ns")["planned_ns"].diff().drop_nulls()
    assert set(gaps.to_list()) == {2 * MS}, "arrivals are due every 2 ms whatever happens to them"


def test_an_open_load_counts_the_arrivals_it_could_not_start(tmp_path: Path) -> None:
    def never(_peer: Peer, _connection: socket.socket, _data: bytes) -> None:
        return

    with Peer(never) as peer:
        load = {"phase": "load", "model": "open", "rate_per_s": 200, "duration_ns": 300 * MS, "grace_ns": 50 * MS}
        result = run_fleet(plan_for(peer, connections=5, phases=phases(load)), tmp_path).result
    assert result["arrivals"] == {"planned": 60, "started": 5, "not_started": 55}
    assert (result["unanswered"], result["messages_answered"]) == (5, 0)


def test_a_stall_of_the_server_shows_in_many_response_times_and_in_one_service_time(tmp_path: Path) -> None:
    """Coordinated omission: with one connection only one request is on the wire while the server stands still."""

    def stall_once(peer: Peer, connection: socket.socket, data: bytes) -> None:
        if peer.received == 20 * 64:
            peer.unpause.wait(0.4)
        upper(peer, connection, data)

    with Peer(stall_once) as peer:
        load = {"phase": "load", "model": "open", "rate_per_s": 200, "duration_ns": 1000 * MS}
        finished = run_fleet(plan_for(peer, connections=1, phases=phases(load)), tmp_path)
    log = read_latency(finished.logs(), host="client-1").filter(kind="message")
    assert (log["service_ns"] > 200 * MS).sum() == 1
    assert (log["response_ns"] > 200 * MS).sum() >= 30, "about 40 arrivals were due in the stall's first half"


def test_answers_that_come_byte_by_byte_are_whole_answers(tmp_path: Path) -> None:
    def drip(peer: Peer, connection: socket.socket, data: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            connection.send(data[i : i + 1].upper())
            peer.unpause.wait(0.0001)

    with Peer(drip) as peer:
        plan = plan_for(peer, connections=4, phases=phases({"phase": "load", "messages": 3}))
        result = run_fleet(plan, tmp_path).result
    assert (result["messages_answered"], result["wrong_answers"], result["bytes_received"]) == (12, 0, 12 * 64)


def test_a_wrong_answer_is_counted_and_the_first_kept_as_evidence(tmp_path: Path) -> None:
    with Peer(lambda _peer, connection, data: connection.sendall(data)) as peer:
        result = run_fleet(plan_for(peer, connections=3), tmp_path).result
    evidence = result["first_wrong_answer"]
    assert (result["wrong_answers"], result["messages_answered"]) == (3, 3)
    assert (evidence["why"], evidence["got"].upper()) == ("the answer differs", evidence["expected"])


@pytest.mark.parametrize("form", [{}, {"pipeline": 2}], ids=["fast", "pipelined"])
def test_more_answers_than_requests_are_surplus(form: dict[str, Any], tmp_path: Path) -> None:
    def twice_at_the_end(peer: Peer, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data.upper() * (2 if peer.received == 2 * 64 else 1))

    with Peer(twice_at_the_end) as peer:
        load = {"phase": "load", "messages": 2, **form}
        hold = {"phase": "hold", "duration_ns": 50 * MS}
        result = run_fleet(plan_for(peer, connections=1, phases=phases(load, hold)), tmp_path).result
    assert result["messages_answered"] == 2
    assert result["surplus_bytes"] > 0


FRAMINGS = ("fixed:64", r"delimiter:\n", "length", "json-header", "http")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_answers_end_where_their_framing_says(framing: str, tmp_path: Path) -> None:
    codec = parse_framing(framing, side="server")
    decoders: dict[int, Any] = {}

    def framed(_peer: Peer, connection: socket.socket, data: bytes) -> None:
        decoder = decoders.setdefault(connection.fileno(), codec.decoder())
        for message in decoder.feed(data):
            answer = codec.encode(message.upper())
            connection.sendall(answer[:5])
            connection.sendall(answer[5:])

    with Peer(framed) as peer:
        message = {"bytes": 64, "framing": framing, "check": "upper"}
        load = {"phase": "load", "messages": 5, "pipeline": 2}
        result = run_fleet(plan_for(peer, connections=4, message=message, phases=phases(load)), tmp_path).result
    assert (result["messages_answered"], result["wrong_answers"], result["answered"]) == (20, 0, 4)


def test_messages_larger_than_every_buffer_arrive_whole(tmp_path: Path) -> None:
    size = 1 << 20
    with Peer(echo) as peer:
        message = {"bytes": size, "answer_bytes": size, "check": "echo"}
        plan = plan_for(peer, connections=2, message=message, phases=phases({"phase": "load", "messages": 3}))
        result = run_fleet(plan, tmp_path).result
    assert (result["messages_answered"], result["wrong_answers"]) == (6, 0)
    assert result["bytes_sent"] == result["bytes_received"] == 6 * size


def test_a_burst_sends_all_its_messages_without_waiting_for_an_answer(tmp_path: Path) -> None:
    def hold_back(peer: Peer, connection: socket.socket, _data: bytes) -> None:
        if peer.received == 10 * 64:
            connection.sendall(b"A" * 640)

    with Peer(hold_back) as peer:
        message = {"bytes": 64, "answer_bytes": 64}
        plan = plan_for(peer, connections=1, message=message, phases=phases({"phase": "burst", "messages": 10}))
        result = run_fleet(plan, tmp_path).result
    assert (result["messages_sent"], result["messages_answered"]) == (10, 10)


def test_a_burst_with_a_gap_keeps_its_messages_apart(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        plan = plan_for(peer, connections=2, phases=phases({"phase": "burst", "messages": 5, "gap_ns": 20 * MS}))
        finished = run_fleet(plan, tmp_path)
    log = read_latency(finished.logs(), host="client-1").filter(kind="message", connection=0)
    assert finished.result["messages_answered"] == 10
    assert set(log["planned_ns"].diff().drop_nulls().to_list()) == {20 * MS}


def test_a_slow_reader_gets_every_byte_in_the_end(tmp_path: Path) -> None:
    size = 1 << 18
    with Peer(lambda _peer, connection, data: connection.sendall(b"A" * size)) as peer:
        message = {"bytes": 64, "answer_bytes": size}
        slow = {"phase": "slow-read", "bytes_per_s": 100_000, "duration_ns": 300 * MS}
        finished = run_fleet(plan_for(peer, connections=3, message=message, phases=phases(slow)), tmp_path)
    log = read_latency(finished.logs(), host="client-1").filter(kind="message")
    assert finished.result["messages_answered"] == 3
    # At its rate the phase brings an eighth of the answer; read at full speed the whole takes about a millisecond.
    # A busy machine may send late in the phase, hence half of it.
    assert log["service_ns"].min() >= 150 * MS


def test_churn_opens_asks_and_closes_at_its_rate_beside_those_held(tmp_path: Path) -> None:
    churn = {"phase": "churn", "rate_per_s": 500, "duration_ns": 600 * MS, "messages": 2}
    with Peer(upper) as peer:
        plan = plan_for(peer, connections=4, workers=2, close="rst", connect={"in_flight": 16}, phases=phases(churn))
        finished = run_fleet(plan, tmp_path, descriptors=64)  # 300 connections in 64 descriptors: none leaks
    counts = finished.result["phases"][1]["counts"]
    opened = counts["opened"]
    # A worker that a busy machine held up at the phase's end begins as many as may be in flight, and says so.
    assert (counts["planned"], opened + counts.get("not_started", 0)) == (300, 300)
    assert opened >= 150
    assert (counts["received"], counts["closed_orderly"], peer.accepted) == (2 * opened, opened, 4 + opened)
    assert finished.result["left_open"] == 0


def test_probes_are_a_series_of_their_own(tmp_path: Path) -> None:
    with Peer(upper) as peer:
        probe = {"phase": "probe", "rate_per_s": 100, "duration_ns": 200 * MS, "connections": 2}
        plan = plan_for(peer, phases=phases({"phase": "load", "messages": 1}, probe))
        finished = run_fleet(plan, tmp_path)
    log = read_latency(finished.logs(), host="client-1")
    assert log.filter(kind="message").height == 20
    assert log.filter(kind="probe").height == 20
    assert log.filter(kind="probe")["connection"].n_unique() == 2


def test_a_connection_that_owes_an_answer_is_not_asked_again(tmp_path: Path) -> None:
    def silent_at_first(peer: Peer, connection: socket.socket, data: bytes) -> None:
        if peer.received > 3 * 64:
            upper(peer, connection, data)

    with Peer(silent_at_first) as peer:
        impatient = {"phase": "load", "messages": 1, "grace_ns": 50 * MS, "duration_ns": 100 * MS, "active_share": 0.5}
        plan = plan_for(peer, connections=6, phases=phases(impatient, {"phase": "load", "messages": 1}))
        result = run_fleet(plan, tmp_path).result
    assert (result["unanswered"], result["messages_answered"]) == (3, 3)
