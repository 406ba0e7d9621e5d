"""The host keeper in a real network stack: offloads, facts, samples, snapshots."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_hosts import Host, Program, two_hosts

TRAFFIC = str(Path(__file__).with_name("traffic.py"))
OFFLOADS = {"tso", "gso", "gro", "lro", "scatter_gather", "tx_checksum", "rx_checksum"}


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as pair:
        yield pair


@contextlib.contextmanager
def keeping(host: Host, out: Path, *arguments: str) -> Iterator[Program]:
    program = Program(host, out, "lab.inside.host", "--name", "server", *arguments)
    try:
        yield program
    finally:
        program.close()


def test_offloads_are_switched_off_and_on_and_read_back(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    for setting in ("off", "on"):
        with keeping(hosts[0], tmp_path, "--offloads", setting) as keeper:
            interfaces = keeper.await_event("ready")["interfaces"]
            keeper.stop()
        offloads = interfaces["eth0"]["offloads"]
        assert offloads.keys() == OFFLOADS
        on = {name for name, state in offloads.items() if state}
        assert on == (set() if setting == "off" else OFFLOADS - {"lro"})
        assert interfaces["lo"]["offloads"]["tso"] is True  # loopback is left alone


def test_facts_name_the_interface_its_address_and_the_sysctls_of_this_stack(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    host = hosts[0]
    with keeping(host, tmp_path) as keeper:
        facts = keeper.await_event("ready")
        result = keeper.stop()
    eth0 = facts["interfaces"]["eth0"]
    assert eth0["mac"] in host.shell("ip link show eth0")
    assert eth0["mtu"] == 1500
    assert eth0["up"] is True
    assert f"{host.address}/24" in eth0["addresses"]
    expected = host.run("cat", "/proc/sys/net/ipv4/ip_local_port_range").split()
    assert facts["sysctls"]["net.ipv4.ip_local_port_range"].split() == expected
    assert facts["limits"]["NOFILE"][1] > 0
    assert json.loads((tmp_path / "host.json").read_text())["counters_delta"] == result["counters_delta"]


def test_two_snapshots_bracket_the_traffic_exactly(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with keeping(server, tmp_path) as keeper:
        keeper.await_event("ready")
        keeper.signal(signal.SIGUSR1)
        before = keeper.await_event("counters")
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9012", "200")
        keeper.signal(signal.SIGUSR1)
        after = keeper.await_event("counters")
        keeper.stop()
    assert (before["sequence"], after["sequence"]) == (1, 2)
    ports = {name: after["counters"].get(name, 0) - before["counters"].get(name, 0) for name in after["counters"]}
    assert ports["Udp.NoPorts"] >= 200  # nobody listened: counted, one by one
    assert after["monotonic_ns"] > before["monotonic_ns"]


def test_samples_come_by_the_period_and_one_last_at_the_stop(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with keeping(hosts[0], tmp_path, "--sample", "20000000") as keeper:
        keeper.await_event("ready")
        lines = tmp_path / "counters.jsonl"
        while lines.read_text().count("\n") < 6:
            assert keeper.process.poll() is None
        keeper.stop()
    samples = [json.loads(line) for line in lines.read_text().splitlines()]
    stamps = [sample["monotonic_ns"] for sample in samples]
    assert len(samples) >= 7
    assert stamps == sorted(stamps)
    assert stamps[5] - stamps[0] >= 5 * 19_000_000
    assert all(sample["counters"]["Ip.DefaultTTL"] == 64 for sample in samples)


def test_the_keeper_gives_up_every_capability(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with keeping(hosts[0], tmp_path, "--offloads", "off") as keeper:
        keeper.await_event("ready")
        status = Path(f"/proc/{keeper.process.pid}/status").read_text()
        keeper.stop()
    sets = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert {sets[name] for name in ("CapEff", "CapPrm", "CapInh")} == {"0" * 16}


def test_it_waits_for_an_interface_that_is_plugged_in_later(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    host = hosts[0]
    with keeping(host, tmp_path, "--interface", "late0", "--offloads", "off") as keeper:
        host.shell("ip link add late0 type veth peer name late1")
        host.shell("ip link set late1 up")
        host.shell("ip link set late0 up")
        interfaces = keeper.await_event("ready")["interfaces"]
        keeper.stop()
    host.shell("ip link delete late0")
    assert not any(interfaces["late0"]["offloads"].values())


def test_memory_is_sampled_where_asked_for_from_the_first_moment_to_the_last(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    with keeping(hosts[0], tmp_path, "--memory") as keeper:
        keeper.await_event("ready")
        keeper.stop()
    samples = [json.loads(line) for line in (tmp_path / "memory.jsonl").read_text().splitlines()]
    assert len(samples) >= 2
    assert samples[0]["t_ns"] < samples[-1]["t_ns"]
    assert all(0 < s["meminfo"]["Slab"] < s["meminfo"]["MemTotal"] for s in samples)
    assert "sockstat.TCP.inuse" in samples[-1]["stack"]


def test_an_isolated_host_has_no_way_out_but_its_own_networks(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    host, other = hosts
    for metric in ("10", "20"):
        host.shell(f"ip route add default via {other.address} metric {metric}")
    with keeping(host, tmp_path, "--isolated") as keeper:
        keeper.await_event("ready")
        keeper.stop()
    assert host.shell("ip -4 route show default") == ""
    assert other.address.rpartition(".")[0] in host.shell("ip -4 route show")


def test_without_a_default_route_isolating_changes_nothing(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with keeping(hosts[1], tmp_path, "--isolated") as keeper:
        keeper.await_event("ready")
        keeper.stop()
