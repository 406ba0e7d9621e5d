"""How a fleet host is driven from outside: barriers, the stop, events, plans that are refused, workers that die."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_peers import Peer, finish, next_event, pass_barrier, plan_for, run_fleet, started, upper

LONG_HOLD = [{"phase": "connect"}, {"phase": "hold", "duration_ns": 3600 * 10**9}, {"phase": "drain"}]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(upper) as server:
        yield server


def test_each_phase_waits_for_its_barrier(peer: Peer, tmp_path: Path) -> None:
    with started(plan_for(peer, workers=2), tmp_path, barrier=True) as process:
        next_event(process, "ready")
        assert (tmp_path / "fleet.ready").exists()
        assert peer.accepted == 0, "ready comes before any packet"
        pass_barrier(process)
        next_event(process, "phase", phase="connect", state="end")
        peer.await_open(20)  # the kernel completes a handshake before the server accepts it
        assert (peer.accepted, peer.received) == (20, 0)
        pass_barrier(process)
        next_event(process, "phase", phase="load", state="end")
        assert (peer.received, peer.fins) == (20 * 64, 0)
        pass_barrier(process)
        finished = finish(process, tmp_path)
    assert (finished.code, finished.result["closed_orderly"]) == (0, 20)


def test_what_a_server_closes_while_the_fleet_waits_at_a_barrier_is_not_missed(tmp_path: Path) -> None:
    with Peer(upper) as peer, started(plan_for(peer), tmp_path, barrier=True) as process:
        next_event(process, "ready")
        pass_barrier(process)
        next_event(process, "phase", phase="connect", state="end")
        peer.await_open(20)  # the kernel completes a handshake before the server accepts it
        peer.leave_all()
        pass_barrier(process)
        load = next_event(process, "phase", phase="load", state="end")
        process.terminate()
        finished = finish(process, tmp_path)
    assert (load["open"], load["sent"], finished.result["closed_early"]) == (0, 0, 20)


def test_the_stop_in_the_middle_of_a_run_still_writes_the_result(peer: Peer, tmp_path: Path) -> None:
    with started(plan_for(peer, phases=LONG_HOLD, workers=2), tmp_path) as process:
        next_event(process, "phase", phase="hold", state="begin")
        process.send_signal(signal.SIGTERM)
        finished = finish(process, tmp_path)
    result = finished.result
    assert (finished.code, result["interrupted"], result["opened"], result["left_open"]) == (0, True, 20, 20)
    assert [phase["phase"] for phase in result["phases"]] == ["connect", "hold"]
    assert finished.events[-1]["event"] == "result"


def test_the_stop_at_a_barrier_ends_the_run_without_the_phase(peer: Peer, tmp_path: Path) -> None:
    with started(plan_for(peer), tmp_path, barrier=True) as process:
        next_event(process, "ready")
        process.send_signal(signal.SIGTERM)
        finished = finish(process, tmp_path)
    assert (finished.code, finished.result["interrupted"], finished.result["phases"]) == (0, True, [])
    assert peer.accepted == 0


def test_progress_comes_while_a_phase_lasts_and_phases_begin_and_end_in_order(peer: Peer, tmp_path: Path) -> None:
    phases = [{"phase": "connect"}, {"phase": "hold", "duration_ns": 1_100_000_000}, {"phase": "drain"}]
    events = run_fleet(plan_for(peer, phases=phases), tmp_path).events
    steps = [(e["phase"], e["state"]) for e in events if e["event"] == "phase"]
    assert steps == [(name, state) for name in ("connect", "hold", "drain") for state in ("begin", "end")]
    progress = [e for e in events if e["event"] == "progress"]
    assert [(e["phase"], e["open"]) for e in progress] == [("hold", 20)] * 2


def test_a_worker_that_dies_fails_the_fleet_but_the_result_tells_of_it(peer: Peer, tmp_path: Path) -> None:
    with started(plan_for(peer, phases=LONG_HOLD, workers=2), tmp_path) as process:
        next_event(process, "phase", phase="hold", state="begin")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        finished = finish(process, tmp_path)
    assert finished.code == 1
    assert sorted(worker["exit_status"] for worker in finished.result["workers"]) == [-9, 0]


def test_workers_end_with_a_parent_that_is_killed(peer: Peer, tmp_path: Path) -> None:
    with started(plan_for(peer, phases=LONG_HOLD, workers=2), tmp_path) as process:
        next_event(process, "phase", phase="hold", state="begin")
        peer.await_open(20)
        process.kill()
        peer.await_open(0)  # the kernel closes what the workers held, and only then


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"conections": 3}, "conections: unknown key; allowed here: name, targets"),
    "wrong type": ({"connections": "many"}, "connections: got 'many'; a whole number is needed"),
    "host name": ({"targets": [["localhost", 80]]}, "targets[0]: got ['localhost', 80]; allowed: [\"numeric address\""),
    "phase": ({"phases": [{"phase": "sleep"}]}, "phases[0].phase: got 'sleep'; allowed: burst, churn, connect"),
    "no end": ({"phases": [{"phase": "load"}]}, "phases[0].messages: missing, and duration_ns too"),
    "workers": ({"workers": 30}, "workers: got 30 for 20 connections; at most one a connection"),
    "answer": ({"message": {"bytes": 64}}, "message.answer_bytes: missing; framing 'none' does not tell"),
    "framing": ({"message": {"framing": "morse"}}, "message.framing: unknown framing `morse`"),
    "families": ({"sources": ["::1"]}, "sources: IPv4 and IPv6 are mixed"),
    "option": ({"socket_options": {"nodelay": "yes"}}, "socket_options.nodelay: got 'yes'; true, false or a whole"),
    "udp": ({"transport": "udp", "message": {"bytes": 8}}, "message.bytes: got 8; a datagram needs 16"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_plan_is_refused_with_its_key_and_what_is_allowed(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    finished = run_fleet(plan_for([["127.0.0.1", 9]], **change), tmp_path)
    assert finished.code == 2
    assert message in finished.stderr
    assert finished.events == []


def test_everything_wrong_in_a_plan_is_told_at_once(tmp_path: Path) -> None:
    finished = run_fleet(plan_for([["127.0.0.1", 9]], connections=-1, close="slam", phases=[{}]), tmp_path)
    assert [line.partition(":")[0] for line in finished.stderr.splitlines()] == [
        "connections",
        "phases[0].phase",
        "close",
    ]


def test_a_plan_may_come_from_a_file(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan_for(peer)))
    with started(f"@{file}", tmp_path) as process:
        assert finish(process, tmp_path).result["answered"] == 20
