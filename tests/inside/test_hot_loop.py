"""The hot loop of a fleet runs in two ways, machine code and the interpreter: both must do the same, whatever comes."""

from __future__ import annotations

import os
import random
import select
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_peers import Behaviour, Peer, plan_for, run_fleet, upper

from lab.inside import machine_code
from lab.inside.fleet import hot_loop as loop
from lab.inside.fleet.answers import KnownSizeAnswers
from lab.inside.fleet.closed_fast import FOREVER, Memory
from lab.inside.fleet.latency_log import WORDS

MS = 1_000_000
REQUEST, ANSWER = b"0123456789", b"ABCDEFG"
WAYS = ("machine code", "interpreter")


pytestmark = pytest.mark.usefixtures("machine_code_made")


# ---- call by call, beside each other


class Pair:
    """Some connected sockets, the fleet's ends on one side, and the memory of a loop over them."""

    def __init__(self, way: str, count: int, expected: bytes | None) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        self.ours, self.theirs = [a for a, _ in pairs], [b for _, b in pairs]
        self.place = {end.fileno(): i for i, end in enumerate(self.ours)}
        epoll = select.epoll()
        for end in self.ours:
            end.setblocking(False)
            epoll.register(end, select.EPOLLIN)
        size = max(self.place) + 1
        connections = SimpleNamespace(size=size, epoll=epoll, number=[self.place.get(fd, -1) for fd in range(size)])
        worker: Any = SimpleNamespace(
            connections=connections,
            answers=KnownSizeAnswers(len(ANSWER), expected),
            right_answer=expected,
            request=REQUEST,
            plan=SimpleNamespace(first_connection=1000),
            log=SimpleNamespace(phase=3, kind=2),
            tap=None if way == "machine code" else object(),
            read=os.read,
            write=os.write,
        )
        self._epoll = epoll
        self.memory = Memory(worker)
        self.go_on = self.memory.runner()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_error: object) -> None:
        for end in (*self.ours, *self.theirs, self._epoll):
            end.close()

    def go(self, left: list[int]) -> list[object]:
        """Go on until nothing comes any more; returns all that can be seen of it, but times."""
        memory, it, seen = self.memory, self.memory.it, []
        for fd, i in self.place.items():
            memory.left[fd], memory.sent[fd] = left[i], 10 + i
        it[loop.UNTIL_NS] = FOREVER
        unusual: dict[object, list[object]] = {}
        while True:
            self.go_on()
            if it[loop.OUTCOME] in (loop.PAUSE, loop.QUIET):
                break
            place = self.place[it[loop.FD]]
            data = (
                bytes(memory.buffer[: it[loop.COUNT]])
                if it[loop.OUTCOME] == loop.UNUSUAL_READ and it[loop.COUNT] > 0
                else b""
            )
            unusual.setdefault(place, []).append((it[loop.OUTCOME], it[loop.COUNT], data))
            if it[loop.COUNT] in (0, -104):
                self._epoll.unregister(it[loop.FD])
        records = memory.records[: it[loop.RECORDED]]
        rows = sorted(tuple(records[i : i + WORDS]) for i in range(0, len(records), WORDS))
        times = [(planned, sent, done) for _, _, _, planned, sent, done in rows]
        assert all(planned == sent < done for planned, sent, done in times)
        seen += [it[loop.OUTCOME], sorted(unusual.items()), [row[:5] for row in rows]]
        seen += [[memory.left[fd] for fd in self.place]]
        for end in self.theirs:
            end.setblocking(False)
            try:
                seen.append(end.recv(1000))
            except OSError as error:
                seen.append(type(error).__name__)
        return seen


def prepare(pair: Pair, chance: random.Random) -> list[int]:
    """Have the other ends do what a server may do; returns the answers that each connection still wants."""
    left = []
    for end in pair.theirs:
        what = chance.choice(("right", "right", "right", "wrong", "short", "long", "end", "right and end", "nothing"))
        data = {"wrong": b"ABCDEFX", "short": b"ABC", "long": ANSWER + b"ABC"}.get(what, ANSWER)
        if what not in ("end", "nothing"):
            end.send(data)
        if "end" in what:
            end.shutdown(socket.SHUT_WR)
        left.append(chance.choice((5, 5, 5, 1, 0, -3)))
    return left


@pytest.mark.parametrize("seed", range(40))
def test_both_ways_do_the_same_whatever_comes(seed: int) -> None:
    seen = []
    for way in WAYS:
        chance = random.Random(seed)
        with Pair(way, chance.randint(1, 30), chance.choice((ANSWER, None))) as pair:
            seen.append(pair.go(prepare(pair, chance)))
    assert seen[0] == seen[1]
    assert seen[0][2] or seen[0][1], "something must have been read"


@pytest.mark.parametrize("way", WAYS)
def test_a_right_answer_is_recorded_and_the_next_request_sent(way: str) -> None:
    with Pair(way, 2, ANSWER) as pair:
        pair.theirs[1].send(ANSWER)
        outcome, unusual, rows, left, *got = pair.go([7, 7])
    assert (outcome, unusual, left) == (loop.QUIET, [], [7, 6])
    assert rows == [(1001, 3, 2, 11, 11)]
    assert got == ["BlockingIOError", REQUEST]


@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_does_not_fit_is_handed_back_with_what_did(way: str) -> None:
    with Pair(way, 1, None) as pair:
        full = 0
        try:
            while True:
                full += pair.ours[0].send(b"x" * 1000)
        except BlockingIOError:
            pair.theirs[0].send(ANSWER)
        outcome, unusual, rows, _left, *_got = pair.go([7])
    assert full > 0
    assert unusual == [(0, [(loop.UNUSUAL_WRITE, -11, b"")])]
    assert (outcome, len(rows)) == (loop.QUIET, 1)


@pytest.mark.parametrize("way", WAYS)
def test_records_that_are_full_end_the_loop_and_none_is_lost(way: str) -> None:
    with Pair(way, 10, ANSWER) as pair:
        pair.memory.it[loop.FULL] = 5 * WORDS
        for end in pair.theirs:
            end.send(ANSWER)
        outcome, _unusual, rows, *_rest = pair.go([7] * 10)
    assert (outcome, len(rows)) == (loop.PAUSE, 10)


# ---- whole fleets


def _at(message: int, do: Behaviour) -> Behaviour:
    """What a server does: the right answers, but another thing instead of the n-th."""

    def behave(peer: Peer, connection: socket.socket, data: bytes) -> None:
        (do if peer.received == message * 64 else upper)(peer, connection, data)

    return behave


def _halves(peer: Peer, connection: socket.socket, data: bytes) -> None:
    connection.sendall(data[:20].upper())
    peer.unpause.wait(0.02)
    connection.sendall(data[20:].upper())


UNUSUAL: dict[str, tuple[Behaviour, dict[str, int]]] = {
    "wrong": (_at(5, lambda _p, end, data: end.sendall(data)), {"messages_answered": 9, "wrong_answers": 1}),
    "end": (_at(5, lambda peer, end, _data: peer.close(end)), {"messages_answered": 4, "closed_early": 1}),
    "reset": (_at(5, lambda peer, end, _data: peer.reset(end)), {"messages_answered": 4, "reset_by_peer": 1}),
    "in two pieces": (_at(5, _halves), {"messages_answered": 9, "wrong_answers": 0}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", UNUSUAL)
def test_a_fleet_counts_what_is_unusual_the_same_in_both_ways(
    way: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(machine_code.SWITCH, "off" if way == "interpreter" else "")
    behaviour, expected = UNUSUAL[what]
    with Peer(behaviour) as peer:
        load = {"phase": "load", "messages": 9, "duration_ns": 500 * MS, "grace_ns": 100 * MS}
        phases = [{"phase": "connect"}, load, {"phase": "drain"}]
        result = run_fleet(plan_for(peer, connections=1, phases=phases), tmp_path).result
    assert result["hot_loop"].partition(":")[0] == way
    assert {key: result[key] for key in expected} == expected
