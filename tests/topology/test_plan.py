"""The plan: pure, seeded, and honest about what a machine can hold."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from pathlib import Path

import pytest

from lab.errors import MachineLacks
from lab.scenario.load import Loaded, load
from lab.topology import Facts, Topology
from lab.topology.plan import SUBNET_POOL, plan

FACTS = Facts(
    engine="netns",
    engine_version="test",
    kernel="6.1",
    architecture="x86_64",
    cpus=2,
    memory_bytes=8 << 30,
    nofile_hard=20_000,
    pids_max=32_768,
    conntrack_max=None,
    port_range=(32_768, 60_999),
    taken_subnets=("172.17.0.0/16",),
)


def scenario(
    tmp_path: Path, *overrides: str, server: str = "model: epoll", fleet: str = "", networks: str = ""
) -> Loaded:
    file = tmp_path / "lab.yaml"
    file.write_text(
        f"title: Plan\n{networks}\nhosts: {{server: {{}}, client: {{count: 4}}}}\nserver: {{{server}}}\n"
        f"fleet: {{connections: 10k, {fleet} phases: [{{phase: connect}}, {{phase: drain}}]}}\n"
        "capture: [{host: server, filter: tcp port 9000, snaplen: 128B}]\n"
    )
    return load(file, overrides)


def fleet_plans(topology: Topology) -> list[dict[str, object]]:
    return [json.loads(program.arguments[1]) for program in topology.of_role("fleet")]


def test_connections_are_shared_out_evenly_and_numbered_through(tmp_path: Path) -> None:
    plans = fleet_plans(plan(scenario(tmp_path, "fleet.connections=10"), FACTS))
    assert [p["connections"] for p in plans] == [3, 3, 2, 2]
    assert [p["first_connection"] for p in plans] == [0, 3, 6, 8]


def test_rates_are_shared_out_over_the_fleet_hosts(tmp_path: Path) -> None:
    plans = fleet_plans(plan(scenario(tmp_path, fleet="connect: {rate: 4k/s},"), FACTS))
    assert {p["connect"]["rate_per_s"] for p in plans} == {1000.0}  # type: ignore[index]


def test_the_same_input_gives_the_same_topology_and_another_salt_another_subnet(tmp_path: Path) -> None:
    loaded = scenario(tmp_path)
    assert plan(loaded, FACTS) == plan(loaded, FACTS)
    assert plan(loaded, FACTS).networks != plan(loaded, FACTS, salt=1).networks


def test_a_chosen_subnet_avoids_every_taken_one(tmp_path: Path) -> None:
    halves = [str(n) for n in SUBNET_POOL.subnets(new_prefix=11)]
    first, second = halves
    topology = plan(scenario(tmp_path), dataclasses.replace(FACTS, taken_subnets=(first,)))
    assert ipaddress.ip_network(topology.networks[0].subnet).subnet_of(ipaddress.ip_network(second))
    with pytest.raises(MachineLacks, match="no free IPv4 subnet"):
        plan(scenario(tmp_path), dataclasses.replace(FACTS, taken_subnets=(first, second)))


def test_addresses_are_unique_and_leave_the_first_to_the_gateway(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path, networks="networks: {lan: {subnet: 10.9.8.0/24}}"), FACTS)
    addresses = [host.interfaces[0].address for host in topology.hosts]
    assert addresses == ["10.9.8.2", "10.9.8.3", "10.9.8.4", "10.9.8.5", "10.9.8.6"]


def test_workers_follow_from_the_descriptor_limit(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path), dataclasses.replace(FACTS, nofile_hard=2_000))
    arguments = topology.of_role("server")[0].arguments
    assert arguments[arguments.index("--workers") + 1] == "6"
    assert {p["workers"] for p in fleet_plans(topology)} == {2}
    assert any("server: 10,000 connections / 1,968 a process = 6 workers" in line for line in topology.arithmetic)


def test_too_few_workers_for_this_machine_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match="server: 1 workers of 968 connections each cannot hold 10,000") as caught:
        plan(scenario(tmp_path, server="model: epoll, workers: 1"), dataclasses.replace(FACTS, nofile_hard=1_000))
    assert "workers: auto" in str(caught.value.hint)


def test_more_descriptors_than_the_machine_allows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match="50,000 descriptors a process wanted, this machine allows 20,000"):
        plan(scenario(tmp_path, "hosts.server.nofile=50k"), FACTS)


def test_a_full_tracking_table_is_foreseen(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match="connection tracking holds 4,096 connections"):
        plan(scenario(tmp_path), dataclasses.replace(FACTS, conntrack_max=4_096))


def test_only_captured_hosts_lose_their_offloads(tmp_path: Path) -> None:
    keepers = {p.host: p.arguments for p in plan(scenario(tmp_path), FACTS).of_role("host")}
    assert keepers["server"][-1] == "off"
    assert keepers["client-1"][-1] == "on"


def test_no_host_has_a_way_out_of_the_lab(tmp_path: Path) -> None:
    keepers = plan(scenario(tmp_path), FACTS).of_role("host")
    assert len(keepers) == 5
    assert all("--isolated" in keeper.arguments for keeper in keepers)


def test_a_topology_survives_json(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path), FACTS)
    assert Topology.from_json(json.loads(json.dumps(topology.to_json()))) == topology
