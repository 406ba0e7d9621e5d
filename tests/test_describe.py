"""A plan in words: what a reader sees of hosts that are alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.describe import describe_plan, describe_scenario
from lab.scenario.load import load
from lab.topology import Facts
from lab.topology.plan import plan
from tests.topology.test_plan import FACTS

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def facts() -> Facts:
    return replace(FACTS, memory_bytes=24 << 30)


def test_hosts_that_differ_only_in_number_and_address_stand_in_one_line(facts: Facts) -> None:
    loaded = load(PROJECT / "scenarios" / "epoll-1m.yaml")
    text = describe_plan(loaded, plan(loaded, replace(facts, file_max=10**7)), facts)
    hosts = [line for line in text.splitlines() if line.startswith("host ")]
    assert [line.split("  ")[0] for line in hosts if "client" in line] == ["host client-1 to client-32 (32)"]
    assert len(hosts) == 2


def test_hosts_of_two_roles_stand_apart(facts: Facts) -> None:
    loaded = load(PROJECT / "scenarios" / "epoll-10k.yaml", ["hosts.client.count=1"])
    text = describe_plan(loaded, plan(loaded, facts), facts)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("host ")] == ["server", "client"]


def test_what_is_expected_of_some_cells_only_names_them() -> None:
    text = describe_scenario(load(PROJECT / "scenarios" / "mutex.yaml"))
    assert "  answers.repeated = 0 for asyncio-streams  (between two awaits nobody else runs)" in text.splitlines()
    assert "takes as long as its messages do; file: " in text
