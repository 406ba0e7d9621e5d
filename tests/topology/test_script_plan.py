"""A script shared out: turns, programs, addresses, privileges."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from lab.scenario.load import Loaded, load
from lab.topology import Topology
from lab.topology.plan import plan
from lab.topology.script_plan import turns
from tests.topology.test_plan import FACTS

STEPS = """
  - {at: server, do: listen, port: 9000, as: l}
  - {at: client, do: connect, to: server, port: 9000, as: c}
  - {at: client, do: send, socket: c, text: hello}
  - {at: server, do: accept, socket: l, as: s}
"""


def scenario(tmp_path: Path, steps: str = STEPS, hosts: str = "{server: {}, client: {}}") -> Loaded:
    file = tmp_path / "lab.yaml"
    file.write_text(f"title: Script\nhosts: {hosts}\nscript:{steps}")
    return load(file)


def planned(topology: Topology, program: str) -> dict[str, Any]:
    (found,) = [p for p in topology.programs if p.name == program]
    return dict(json.loads(found.arguments[1]))


def test_steps_of_one_host_that_follow_each_other_are_one_turn(tmp_path: Path) -> None:
    found = turns(scenario(tmp_path).scenario)
    assert [(turn.program, turn.steps) for turn in found] == [
        ("server/actor", (0,)),
        ("client/actor", (1, 2)),
        ("server/actor", (3,)),
    ]
    assert found[1].text == "client: connect, send"


def test_each_program_gets_its_own_steps_with_their_turns_and_addresses(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path), FACTS)
    steps = planned(topology, "client/actor")["steps"]
    assert [(step["index"], step["turn"], step["do"]) for step in steps] == [(1, 1, "connect"), (2, 1, "send")]
    assert steps[0]["address"] == topology.host("server").interfaces[0].address
    assert steps[0]["as"] == "c"


def test_hand_made_segments_come_from_an_address_that_no_host_has(tmp_path: Path) -> None:
    steps = """
  - {at: peer, do: endpoint, port: 9000, as: p}
  - {at: client, do: connect, to: peer, port: 9000, as: c, gives: blocks}
"""
    topology = plan(scenario(tmp_path, steps, "{client: {}, peer: {}}"), FACTS)
    address = planned(topology, "peer/crafter")["address"]
    assert address not in [i.address for host in topology.hosts for i in host.interfaces]
    assert ipaddress.ip_address(address) in list(ipaddress.ip_network(topology.networks[0].subnet).hosts())
    assert planned(topology, "client/actor")["steps"][0]["address"] == address


def test_only_who_cuts_a_link_may_administer_the_network(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path, STEPS + "  - {at: client, do: cut, to: server}\n"), FACTS)
    given = {p.name: p.capabilities for p in topology.of_role("actor")}
    assert given == {"server/actor": (), "client/actor": ("NET_ADMIN",)}


def test_a_switch_is_a_program_of_its_own_with_all_interfaces_of_its_host(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "title: Switch\nnetworks: {left: {}, right: {}}\n"
        "hosts: {bridge: {networks: [right, left]}, client: {networks: [left]}}\n"
        "script:\n  - {at: bridge, do: switch, most: 10}\n  - {at: client, do: pause, duration: 1ms}\n"
        "  - {at: bridge, do: unplug, network: left}\n"
    )
    topology = plan(load(file), FACTS)
    (keeper,) = [program for program in topology.programs if program.name == "bridge/host"]
    assert [n for n in ("eth0", "eth1") if n in keeper.arguments] == ["eth0", "eth1"], "it waits for both"
    switch = planned(topology, "bridge/switch")
    assert switch["interfaces"] == {"right": "eth0", "left": "eth1"}
    assert [(step["do"], step["turn"]) for step in switch["steps"]] == [("switch", 0), ("unplug", 2)]
    assert (switch["steps"][0]["most"], switch["steps"][0]["rate"]) == (10, 1000)
    (program,) = topology.of_role("switch")
    assert (program.image, program.capabilities) == ("host", ("NET_RAW",))


def test_a_script_needs_neither_server_nor_fleet_programs(tmp_path: Path) -> None:
    topology = plan(scenario(tmp_path), FACTS)
    assert {p.role for p in topology.programs} == {"host", "actor"}
