"""Docker networks: subnets that collide, and interfaces in the host's order."""

from __future__ import annotations

import secrets
from pathlib import Path

import docker
import pytest
from compose_lab import keeper, two_hosts
from docker_lab import all_ready, free_subnet, hear_until, names_of

from lab.engines import SubnetTaken
from lab.engines.compose import ComposeEngine
from lab.engines.docker_resources import find
from lab.topology import Host, Interface, Network, Topology


def test_a_subnet_that_is_taken_is_told_and_leaves_nothing(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    subnet = free_subnet(api)
    taken = api.create_network(
        f"foreign-{run_id}", ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
    )
    try:
        assert subnet in engine.facts().taken_subnets
        with pytest.raises(SubnetTaken):
            engine.up(two_hosts(subnet=subnet), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
        assert names_of(api, run_id) == set()
        assert [n["Id"] for n in api.networks(names=[f"foreign-{run_id}"])] == [taken["Id"]]
    finally:
        api.remove_network(taken["Id"])


def test_interfaces_are_named_in_the_hosts_order_however_many_there_are(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    octet = secrets.randbelow(200)
    subnets = [f"10.121.{octet + n}.0/29" for n in range(4)]
    order = "dacb"
    host = Host(
        name="server",
        interfaces=tuple(
            Interface(name=f"eth{n}", network=name, address=subnets[n].replace(".0/29", ".3"), prefix=29)
            for n, name in enumerate(order)
        ),
        sysctls={},
    )
    topology = Topology(
        scenario="many",
        networks=tuple(Network(name=name, subnet=subnets[n], mtu=1500) for n, name in enumerate(order)),
        hosts=(host,),
        programs=(keeper("server", *(interface.name for interface in host.interfaces)),),
    )
    engine.up(topology, run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    hear_until(engine, all_ready(1))
    script = (
        "import socket, fcntl, struct\n"
        "for name in (b'eth0', b'eth1', b'eth2', b'eth3'):\n"
        "    answer = fcntl.ioctl(socket.socket(2, 2), 0x8915, struct.pack('256s', name))  # SIOCGIFADDR\n"
        "    print(socket.inet_ntoa(answer[20:24]))\n"
    )
    container = next(r.id for r in find(api, run_id) if r.kind == "container")
    said = api.exec_start(api.exec_create(container, ["python", "-c", script])).decode()
    assert said.split() == [interface.address for interface in host.interfaces]
