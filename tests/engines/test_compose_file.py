from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_lab import keeper, two_hosts

from lab.engines import labels
from lab.engines.compose_file import address_towards, literal, load_base, render, to_yaml
from lab.engines.images import ROOT
from lab.errors import RunFailed
from lab.topology import Host, Interface, Network, Program, Topology

BASE = ROOT / "docker-compose.yml"
IMAGES = {"host": "wirelab/host:h", "capture": "wirelab/capture:c", "servers": "wirelab/servers:s"}
RUN_LABELS = {labels.PROJECT: "wirelab", labels.RUN: "r1", labels.OWNER: "m/b/1/2"}

SERVER = Program(host="server", role="server", module="lab.inside.servers.epoll_server", arguments=("--port", "9000"))
CAPTURE = Program(
    host="server",
    role="capture",
    module="lab.inside.capture",
    arguments=("--filter", "host $x"),
    image="capture",
    capabilities=("NET_RAW",),
)
FLEET = Program(host="client", role="fleet", module="lab.inside.fleet", arguments=(), nofile=5000)


def rendered(topology: Topology) -> dict[str, Any]:
    project = render(topology, roles=load_base(BASE), images=IMAGES, run_labels=RUN_LABELS)
    loaded: dict[str, Any] = yaml.safe_load(to_yaml(project, "one\ntwo"))
    return loaded


def test_every_program_is_a_service_and_every_host_has_a_volume_that_its_programs_share() -> None:
    project = rendered(two_hosts(CAPTURE, SERVER, FLEET))
    volumes = {name: service["volumes"] for name, service in project["services"].items()}
    assert volumes == {
        "server": ["server-out:/out"],
        "client": ["client-out:/out"],
        "server.capture": ["server-out:/out"],
        "server.server": ["server-out:/out"],
        "client.fleet": ["client-out:/out"],
    }
    assert set(project["volumes"]) == {"server-out", "client-out"}


@pytest.mark.parametrize("service", ["server", "server.capture", "server.server", "client.fleet"])
def test_every_service_is_hardened(service: str) -> None:
    found = rendered(two_hosts(CAPTURE, SERVER, FLEET))["services"][service]
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["read_only"] is True
    assert found["init"] is True
    assert found["pids_limit"] > 0
    assert "privileged" not in found


def test_a_program_keeps_the_capabilities_of_the_topology_and_runs_as_root_only_for_these() -> None:
    services = rendered(two_hosts(CAPTURE, SERVER, FLEET))["services"]
    assert {name: (s.get("cap_add"), s["user"]) for name, s in services.items()} == {
        "server": (["NET_ADMIN"], "0:0"),
        "client": (["NET_ADMIN"], "0:0"),
        "server.capture": (["NET_RAW"], "0:0"),
        "server.server": (None, "10001:10001"),
        "client.fleet": (None, "10001:10001"),
    }


def test_the_keeper_owns_the_network_stack_and_the_others_join_it() -> None:
    services = rendered(two_hosts(SERVER, sysctls={"net.ipv4.tcp_fin_timeout": "5"}))["services"]
    server = services["server"]
    assert server["hostname"] == "server"
    assert server["networks"]["lab"]["ipv4_address"] == "10.91.7.2"
    assert server["sysctls"] == {"net.ipv4.tcp_fin_timeout": "5"}
    assert server["extra_hosts"] == ["server:10.91.7.2", "client:10.91.7.3"]
    assert "network_mode" not in server
    joined = services["server.server"]
    assert joined["network_mode"] == "service:server"
    assert not {"networks", "hostname", "extra_hosts", "sysctls"} & set(joined)


def test_everything_made_carries_the_labels_of_the_run() -> None:
    project = rendered(two_hosts(CAPTURE, SERVER, FLEET))
    for part in ("services", "networks", "volumes"):
        for thing in project[part].values():
            assert RUN_LABELS.items() <= thing["labels"].items()
    assert project["services"]["server.capture"]["labels"][labels.PROGRAM] == "server/capture"


def test_by_hand_a_fleet_waits_for_servers_and_captures_and_each_of_them_for_its_keeper() -> None:
    services = rendered(two_hosts(CAPTURE, SERVER, FLEET))["services"]
    assert set(services["client.fleet"]["depends_on"]) == {"client", "server.capture", "server.server"}
    assert set(services["server.server"]["depends_on"]) == {"server"}
    conditions = [c for s in services.values() for c in s.get("depends_on", {}).values()]
    assert all(condition == {"condition": "service_healthy"} for condition in conditions)


def test_limits_of_host_and_program_become_limits_of_the_container() -> None:
    topology = two_hosts(FLEET)
    hosts = tuple(replace(host, cpus=0.5, memory_bytes=64 << 20) for host in topology.hosts)
    fleet = rendered(replace(topology, hosts=hosts))["services"]["client.fleet"]
    assert (fleet["cpus"], fleet["mem_limit"]) == (0.5, 64 << 20)
    assert fleet["ulimits"] == {"nofile": {"soft": 5000, "hard": 5000}}
    assert "ulimits" not in rendered(two_hosts(SERVER))["services"]["server.server"]


def test_a_dollar_sign_reaches_the_program_as_it_is() -> None:
    assert literal("a $x ${y} $$") == "a $$x $${y} $$$$"
    assert rendered(two_hosts(CAPTURE))["services"]["server.capture"]["command"][-1] == "host $$x"


def test_the_network_has_the_topologys_subnet_and_mtu_and_no_way_out() -> None:
    network = rendered(two_hosts())["networks"]["lab"]
    assert network["ipam"]["config"] == [{"subnet": "10.91.7.0/29"}]
    assert network["driver_opts"]["com.docker.network.driver.mtu"] == "1400"
    assert network["internal"] is True


def on(name: str, *places: tuple[str, str]) -> Host:
    interfaces = tuple(
        Interface(name=f"eth{index}", network=network, address=address, prefix=24)
        for index, (network, address) in enumerate(places)
    )
    return Host(name=name, interfaces=interfaces, sysctls={})


ROUTER = on("router", ("a", "10.91.0.9"), ("b", "10.91.1.9"))
NEAR, FAR = on("near", ("a", "10.91.0.2")), on("far", ("b", "10.91.1.2"))


def test_a_host_is_known_by_its_address_on_a_shared_network_else_by_its_first() -> None:
    assert address_towards(NEAR, ROUTER) == "10.91.0.9"
    assert address_towards(FAR, ROUTER) == "10.91.1.9"
    assert address_towards(NEAR, FAR) == "10.91.1.2"


def test_networks_of_a_host_come_up_in_the_order_of_its_interfaces_and_let_routed_frames_pass() -> None:
    topology = Topology(
        scenario="routed",
        networks=tuple(Network(name=n, subnet=f"10.91.{i}.0/24", mtu=1500) for i, n in enumerate("ab")),
        hosts=(ROUTER, NEAR, FAR),
        programs=tuple(keeper(host.name) for host in (ROUTER, NEAR, FAR)),
    )
    project = rendered(topology)
    networks = project["services"]["router"]["networks"]
    assert networks["a"]["priority"] > networks["b"]["priority"]
    for network in project["networks"].values():
        assert network["internal"] is False
        assert network["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_no_key_stands_in_the_file_that_one_of_the_compose_versions_refuses() -> None:
    assert set(rendered(two_hosts(SERVER))) == {"services", "networks", "volumes"}
    assert "version" not in yaml.safe_load(BASE.read_text())
    assert "name" not in yaml.safe_load(BASE.read_text())


def test_a_base_file_without_a_role_is_refused_by_its_name(tmp_path: Path) -> None:
    base = tmp_path / "docker-compose.yml"
    base.write_text("services: {a: {labels: {wirelab.role: host}}}")
    with pytest.raises(RunFailed, match=r"no service with the label wirelab\.role="):
        load_base(base)


def test_the_base_file_says_itself_what_the_smallest_lab_is() -> None:
    base = yaml.safe_load(BASE.read_text())
    for name, service in base["services"].items():
        assert service["image"].startswith("wirelab/"), name
        assert service["labels"][labels.RUN] == "by-hand"
        assert service["command"][:2] == ["python", "-m"]
