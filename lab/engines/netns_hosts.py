"""Hosts out of namespaces: for each a network, a UTS and a mount namespace, held open by descriptors.

A namespace lives as long as a process is in it or a descriptor of it is open: the holder keeps the descriptors, and
no process is needed to keep a host without programs.

What a host has of its own: the network stack; its hostname; /etc/hosts with every host of the run, and name
resolution that reads nothing else; /sys, so that /sys/class/net shows its own interfaces. All else is the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.engines import namespaces as ns
from lab.topology import Host, Topology

QUIET = {
    # Nothing speaks IPv6 on a host's interfaces unless the scenario's sysctls ask for it: no link-local address is
    # made (mode 1), so no duplicate detection, router solicitation or multicast report is sent beside the traffic.
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.autoconf": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
}


class SysctlRefused(Exception):
    """A sysctl that a scenario wants cannot be set in a host."""


@dataclass(frozen=True, kw_only=True)
class HostNamespaces:
    """One host, by the descriptors that keep it."""

    name: str
    network: int
    uts: int
    mount: int
    out: Path
    """$LAB_OUT of its programs."""
    home: Path
    """$HOME of all that runs in it: what libraries and shells leave there is no result."""

    def enter(self) -> None:
        """Move this process into the host. The working directory becomes `/`."""
        ns.setns(self.network, ns.CLONE_NEWNET)
        ns.setns(self.uts, ns.CLONE_NEWUTS)
        ns.setns(self.mount, ns.CLONE_NEWNS)


@contextmanager
def inside_network(descriptor: int) -> Iterator[None]:
    """Visit a network namespace: sockets opened and /proc/sys/net read there belong to it."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        ns.setns(descriptor, ns.CLONE_NEWNET)
        try:
            yield
        finally:
            ns.setns(home, ns.CLONE_NEWNET)
    finally:
        os.close(home)


def create_hosts(topology: Topology, folder: Path) -> dict[str, HostNamespaces]:
    """Make every host's namespaces and files, still without any link. `folder` gets one folder a host."""
    shared = {"/etc/hosts": folder / "hosts", "/etc/nsswitch.conf": folder / "nsswitch.conf"}
    shared["/etc/hosts"].write_text(hosts_file(topology.hosts))
    shared["/etc/nsswitch.conf"].write_text(files_only(_read_or_empty(Path("/etc/nsswitch.conf"))))
    home = [(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY), flag) for kind, flag in _KINDS]
    hosts = {}
    try:
        for host in topology.hosts:
            hosts[host.name] = _create_host(host, folder / host.name, shared)
            for descriptor, flag in home:
                ns.setns(descriptor, flag)
    finally:
        for descriptor, _flag in home:
            os.close(descriptor)
    return hosts


_KINDS = (("net", ns.CLONE_NEWNET), ("uts", ns.CLONE_NEWUTS), ("mnt", ns.CLONE_NEWNS))


def _create_host(host: Host, folder: Path, shared: dict[str, Path]) -> HostNamespaces:
    """Make one host and stay in it."""
    out, home = folder / "out", folder / "home"
    out.mkdir(parents=True)
    home.mkdir()
    ns.unshare(ns.CLONE_NEWNET | ns.CLONE_NEWUTS | ns.CLONE_NEWNS)
    ns.sethostname(host.name)
    for target, source in shared.items():
        if os.path.exists(target):  # without nsswitch.conf the C library reads files first anyway
            ns.mount(str(source), target, None, ns.MS_BIND)
    with suppress(PermissionError):  # forbidden where parts of the outer /sys are masked, as in some containers
        ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    for key, value in QUIET.items():
        with suppress(SysctlRefused):  # a kernel without IPv6 is quiet by itself
            set_sysctl(host.name, key, value)
    network, uts, mount = (os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind, _flag in _KINDS)
    return HostNamespaces(name=host.name, network=network, uts=uts, mount=mount, out=out, home=home)


def hosts_file(hosts: Sequence[Host]) -> str:
    """The lines of /etc/hosts: each host by its first address, and by `name-network` on every network it joins."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for host in hosts:
        for place, interface in enumerate(host.interfaces):
            names = [host.name] if place == 0 else []
            lines.append(" ".join([interface.address, *names, f"{host.name}.{interface.network}"]))
    return "\n".join(lines) + "\n"


def files_only(nsswitch: str) -> str:
    """Have host names looked up in /etc/hosts alone: systemd-resolved, asked first by many distributions, answers over
    a Unix socket from outside and would deny that the lab's hosts exist.
    """
    kept = [line for line in nsswitch.splitlines() if not line.lstrip().startswith("hosts:")]
    return "\n".join([*kept, "hosts: files"]) + "\n"


def set_sysctl(host: str, key: str, value: str) -> None:
    """Set a sysctl of the network namespace this process is in. Raises SysctlRefused."""
    where = f"host {host}: sysctl {key}"
    if not key.startswith("net."):
        raise SysctlRefused(f"{where}: not one that a network namespace has for itself; only net.* keys are")
    # As sysctl(8) reads it: a slash in a key stands for a dot in a name, e.g. net.ipv4.conf.eth0/100.forwarding.
    path = Path("/proc/sys", *(part.replace("/", ".") for part in key.split(".")))
    try:
        path.write_text(value + "\n")
    except FileNotFoundError as error:
        where_else = "; some are the machine's alone, and older kernels hide others from ordinary users"
        raise SysctlRefused(f"{where}: this kernel has none of that name in a host{where_else}") from error
    except OSError as error:
        raise SysctlRefused(f"{where}: the kernel refuses the value {value!r}: {error.strerror}") from error


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
