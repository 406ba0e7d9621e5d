"""Networks and links out of bridges and veth pairs, through netlink (pyroute2).

The bridges stand in a network namespace of their own, the switch: in the machine's own namespace a firewall (Docker's,
for one, which drops what it does not know) and connection tracking would sit on the path. Each interface of a host is
one end of a veth pair whose other end is a port of the bridge.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pyroute2 import IPRoute

from lab.engines.netns_hosts import HostNamespaces, inside_network, set_sysctl
from lab.topology import Host, Interface, Network, Topology

_FORWARDING_WITHIN_S = 10.0
LOOPBACK = 1  # its index in every network namespace


def connect(topology: Topology, hosts: Mapping[str, HostNamespaces]) -> None:
    """Build every network in the namespace this process is in (the switch), join the hosts, set their sysctls and bring
    all up. Raises SysctlRefused, pyroute2's NetlinkError.
    """
    for name in ("all", "default"):  # the switch itself says nothing: bridges and ports have no IPv6
        _set_if_there(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
    _set_if_there("/proc/sys/net/bridge/bridge-nf-call-iptables", "0")
    _set_if_there("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0")
    with IPRoute() as switch:
        bridges = {network.name: _add_bridge(switch, place, network) for place, network in enumerate(topology.networks)}
        networks = {network.name: network for network in topology.networks}
        port = 0
        for host in topology.hosts:
            for interface in host.interfaces:
                network = networks[interface.network]
                peer = {
                    "ifname": interface.name,
                    "net_ns_fd": hosts[host.name].network,
                    "mtu": network.mtu,
                    "address": hardware_address(interface),
                }
                switch.link(
                    "add",
                    ifname=f"port{port}",
                    kind="veth",
                    mtu=network.mtu,
                    master=bridges[network.name],
                    state="up",
                    peer=peer,
                )
                port += 1
        for host in topology.hosts:
            with inside_network(hosts[host.name].network):
                _bring_up(host)
        _await_forwarding(switch, ports=port)


def _add_bridge(switch: IPRoute, place: int, network: Network) -> int:
    """Add a plain learning switch and return its index: no spanning tree (whose ports stay deaf for 30 s), no
    multicast snooping (whose querier sends packets of its own).
    """
    name = f"net{place}"
    switch.link(
        "add",
        ifname=name,
        kind="bridge",
        mtu=network.mtu,
        br_stp_state=0,
        br_forward_delay=0,
        br_mcast_snooping=0,
        state="up",
    )
    return int(switch.link_lookup(ifname=name)[0])


def _bring_up(host: Host) -> None:
    """Give the host's interfaces, which are there but down, addresses; set its sysctls; then bring all up."""
    with IPRoute() as stack:
        indexes = {link.get("ifname"): link["index"] for link in stack.get_links()}
        for interface in host.interfaces:
            stack.addr(
                "add",
                index=indexes[interface.name],
                address=interface.address,
                prefixlen=interface.prefix,
                broadcast=str(ipaddress.ip_interface(f"{interface.address}/{interface.prefix}").network[-1]),
            )
        for key, value in host.sysctls.items():
            set_sysctl(host.name, key, value)
        for index in (LOOPBACK, *(indexes[interface.name] for interface in host.interfaces)):
            stack.link("set", index=index, state="up")


def _await_forwarding(switch: IPRoute, *, ports: int) -> None:
    """Wait until every port of the switch forwards: the kernel opens a port a moment after its other end came up, and
    what comes before that is dropped, so that the first ARP request would cost its sender a second.

    Raises: TimeoutError.
    """
    end = time.monotonic() + _FORWARDING_WITHIN_S
    while True:
        links = [link for link in switch.get_links() if link.get("ifname").startswith("port")]
        waiting = [link.get("ifname") for link in links if link.get("operstate") != "UP"]
        if len(links) == ports and not waiting:
            return
        if time.monotonic() > end:
            raise TimeoutError(
                f"{len(waiting)} of {ports} ports of the switch do not forward after {_FORWARDING_WITHIN_S:g} s, "
                f"e.g. {waiting[:3]}"
            )
        time.sleep(0.002)


def hardware_address(interface: Interface) -> str:
    """A locally administered Ethernet address that shows the IPv4 address: the same in every run, so that captures of
    two runs compare.
    """
    return ":".join(f"{byte:02x}" for byte in bytes([0x02, 0x00]) + ipaddress.IPv4Address(interface.address).packed)


def _set_if_there(path: str, value: str) -> None:
    with suppress(FileNotFoundError, PermissionError):
        Path(path).write_text(value)
