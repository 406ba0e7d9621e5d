"""What a number of connections takes of a machine: counted, shown, and refused where it does not fit."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from lab.errors import EXIT_MACHINE_LACKS, MachineLacks
from lab.scenario.load import Loaded, load
from lab.topology import Facts
from lab.topology.capacity import workers_dealt_by_hash
from lab.topology.plan import plan

SCENARIOS = Path(__file__).parents[2] / "scenarios"
GIB = 1 << 30
FACTS = Facts(
    engine="netns",
    engine_version="test",
    kernel="6.1",
    architecture="x86_64",
    cpus=2,
    memory_bytes=24 * GIB,
    nofile_hard=20_000,
    pids_max=32_768,
    conntrack_max=None,
    port_range=(32_768, 60_999),
    taken_subnets=(),
    file_max=2_466_193,
)


def million(*overrides: str) -> Loaded:
    return load(SCENARIOS / "epoll-1m.yaml", overrides)


def refusal(loaded: Loaded, facts: Facts) -> MachineLacks:
    with pytest.raises(MachineLacks) as caught:
        plan(loaded, facts)
    assert caught.value.exit_code == EXIT_MACHINE_LACKS
    return caught.value


def test_a_million_connections_fit_a_machine_of_24_gib_with_20_000_descriptors_a_process() -> None:
    lines = "\n".join(plan(million(), FACTS).arithmetic)
    assert "server: 1,000,000 connections / 19,968 a process = 52 workers" in lines
    assert "each fleet host: 31,250 connections / 19,936 a process = 2 workers" in lines
    assert "within the 32,256 even ones" in lines
    assert "processes: 183 of 32,768" in lines  # 33 keepers, 1 capture, 1 + 52 of the server, 32 x (1 + 2) of the fleet
    assert "at most 1,220,168 connections here (by resource: open files 1,220,168" in lines


def test_too_little_memory_is_refused_with_the_number_that_fits() -> None:
    error = refusal(million(), dataclasses.replace(FACTS, memory_bytes=8 * GIB))
    assert "by its memory, got 1,000,000" in str(error)
    fits = int(str(error).split("at most ")[1].split(" ")[0].replace(",", ""))
    plan(million(f"fleet.connections={fits}"), dataclasses.replace(FACTS, memory_bytes=8 * GIB))


def test_too_few_open_files_are_refused_with_the_setting_that_would_do() -> None:
    error = refusal(million(), dataclasses.replace(FACTS, file_max=1_000_000))
    assert error.hint is not None
    enough = int(error.hint.split("fs.file-max=")[1].split(",")[0])
    plan(million(), dataclasses.replace(FACTS, file_max=enough))


def test_an_unknown_limit_of_open_files_refuses_nothing() -> None:
    lines = plan(million(), dataclasses.replace(FACTS, file_max=None)).arithmetic
    assert not any("open files" in line for line in lines)


def test_too_few_process_ids_are_refused() -> None:
    assert "183 processes are needed, this machine allows 150" in str(
        refusal(million(), dataclasses.replace(FACTS, pids_max=150))
    )


def test_ports_beyond_the_even_ones_are_planned_but_pointed_out() -> None:
    lines = plan(million("fleet.connections=100k", "hosts.client.count=3"), FACTS).arithmetic
    line = next(line for line in lines if line.startswith("clients"))
    assert "more than the 32,256 even ones" in line
    assert "4 hosts would not" in line


@pytest.mark.parametrize(("needed", "room"), [(1_000_000, 19_968), (100_000, 19_968), (30_000, 964), (20_000, 19_968)])
def test_workers_dealt_to_by_a_hash_have_room_for_five_deviations_above_the_mean_and_one_fewer_had_not(
    needed: int, room: int
) -> None:
    def fullest(workers: int) -> float:
        mean = needed / workers
        return mean + 5 * math.sqrt(mean)

    workers = workers_dealt_by_hash(needed, room)
    assert fullest(workers) <= room < fullest(workers - 1)


@pytest.mark.parametrize(("needed", "room", "workers"), [(10, 10, 1), (0, 10, 1), (3, 1, 3)])
def test_one_worker_that_holds_them_all_needs_no_spare_room(needed: int, room: int, workers: int) -> None:
    assert workers_dealt_by_hash(needed, room) == workers
