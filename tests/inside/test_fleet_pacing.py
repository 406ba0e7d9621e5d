"""The fleet's arithmetic, without sockets: due times, shares, lateness, the log's records."""

from __future__ import annotations

import itertools
import os
import select
import time
from array import array
from pathlib import Path

import pytest

from lab.inside.fleet.latency_log import BATCH, CONNECT, HEADER, MAGIC, MESSAGE, NEVER, RECORD, LatencyLog
from lab.inside.fleet.lateness import Lateness
from lab.inside.fleet.pacing import Pace, Timer
from lab.inside.fleet.plan import Plan, read_plan, spread


def a_plan(connections: int, workers: int) -> Plan:
    return read_plan(
        f'{{"targets": [["127.0.0.1", 9]], "connections": {connections}, "workers": {workers},'
        '"message": {"answer_bytes": 64}, "phases": []}'
    )


def records(file: Path) -> list[tuple[int, ...]]:
    return list(RECORD.iter_unpack(file.read_bytes()[HEADER.size :]))


def test_the_workers_arrivals_together_are_evenly_spaced() -> None:
    paces = [Pace(start_ns=1000, rate_per_s=1000, worker=worker, workers=3) for worker in range(3)]
    dues = sorted(pace.due_ns(i) for pace in paces for i in range(100))
    assert dues == [1000 + k * 1_000_000 for k in range(300)]


def test_due_times_gather_no_rounding_error() -> None:
    pace = Pace(start_ns=0, rate_per_s=3)
    assert pace.due_ns(3_000_000) == 1_000_000 * 10**9


@pytest.mark.parametrize("rate", [0.5, 1, 3, 7.7, 1000, 123_456])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_an_arrival_is_counted_if_it_is_due_before_the_end(rate: float, workers: int) -> None:
    duration = 3_000_000_001
    for worker in range(workers):
        pace = Pace(start_ns=77, rate_per_s=rate, worker=worker, workers=workers)
        count = pace.count_within(duration)
        assert pace.due_ns(count) >= 77 + duration
        assert count == 0 or pace.due_ns(count - 1) < 77 + duration


@pytest.mark.parametrize(("connections", "workers"), [(1, 1), (10, 3), (1000, 7)])
def test_every_connection_belongs_to_one_worker_and_shares_add_up(connections: int, workers: int) -> None:
    plan = a_plan(connections, workers)
    assert sorted(c for w in range(workers) for c in plan.connections_of(w)) == list(range(connections))
    assert sum(plan.share(connections, w) for w in range(workers)) == connections


@pytest.mark.parametrize(("chosen", "of"), [(0, 9), (1, 9), (4, 9), (9, 9)])
def test_spread_chooses_exactly_so_many_and_evenly(chosen: int, of: int) -> None:
    picked = [i for i in range(of) if spread(i, chosen, of)]
    assert len(picked) == chosen
    gaps = {b - a for a, b in itertools.pairwise(picked)}
    assert len(gaps) <= 2


def test_lateness_percentiles_are_at_most_one_bin_too_high() -> None:
    lateness = Lateness()
    durations = [i * i * 37 for i in range(1, 1001)]
    for duration in durations:
        lateness.add(duration)
    for percent in (50, 99):
        true, read = durations[percent * 10 - 1], lateness.percentile(percent)
        assert read is not None
        assert true <= read <= true * (1 + 1 / 64)
    assert lateness.most_ns == durations[-1]


def test_lateness_of_workers_merges_exactly() -> None:
    whole, first, second = Lateness(), Lateness(), Lateness()
    for i in range(1000):
        whole.add(i * 1000)
        (first if i % 3 else second).add(i * 1000)
    first.merge(second)
    assert (first.bins, first.most_ns) == (whole.bins, whole.most_ns)


def test_the_timer_fires_when_it_is_due_and_not_before() -> None:
    timer = Timer()
    with select.epoll() as epoll:
        epoll.register(timer.fd, select.EPOLLIN)
        due = time.monotonic_ns() + 5_000_000
        timer.arm(due)
        assert epoll.poll(10)
        assert time.monotonic_ns() >= due
        timer.clear()
        assert epoll.poll(0) == []
        timer.arm(time.monotonic_ns() + 10**12)
        timer.disarm()
        assert epoll.poll(0) == []
    timer.close()


def test_the_log_keeps_what_it_is_given_in_every_batch_size(tmp_path: Path) -> None:
    log = LatencyLog(tmp_path, worker=3, most=10**6)
    log.begin(2)
    for i in range(BATCH + 10):
        log.add(i, 10 * i, 10 * i + 1, NEVER if i % 2 else 10 * i + 2)
    log.add(7, 1, 2, 3, CONNECT)
    log.extend(memoryview(array("q", [8, 2, MESSAGE, 20, 20, 30, 9, 2, MESSAGE, 40, 40, 50])))
    log.close()
    file = tmp_path / "latency-3.bin"
    assert HEADER.unpack_from(file.read_bytes())[:3] == (MAGIC, 3, RECORD.size)
    rows = records(file)
    assert len(rows) == log.kept == BATCH + 13
    assert (5, 2, MESSAGE, 50, 51, NEVER) in rows
    assert (7, 2, CONNECT, 1, 2, 3) in rows
    assert (9, 2, MESSAGE, 40, 40, 50) in rows


def test_the_log_is_bounded_and_counts_what_it_does_not_keep(tmp_path: Path) -> None:
    log = LatencyLog(tmp_path, worker=0, most=100)
    for i in range(150):
        log.add(i, i, i, i)
    log.close()
    assert (log.kept, log.not_kept) == (100, 50)
    assert os.path.getsize(tmp_path / "latency-0.bin") == HEADER.size + 100 * RECORD.size
