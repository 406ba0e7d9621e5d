"""A Topology as a Compose file: each program takes the service of its role from `docker-compose.yml`, the base file.

The base file holds what is the same in every run: hardening, environment, ready marks. Here come in what a topology
says: hosts with their networks, addresses, sysctls and limits; programs with their commands and capabilities; labels.
The result needs nothing but the images: `docker compose -f runs/.../compose.yaml up` runs the same lab by hand.

A host is the service of its keeper, named like the host; its other programs are `<host>.<role>` and join the keeper's
network stack. The keeper is never restarted: a program that joins another's network loses it when that one restarts.
All programs of a host share one volume, mounted at /out.

No `version:` and no `name:` stands in the file: `docker-compose` 1.29 refuses the one, `docker compose` v2 warns about
the other. The project's name is in `.env` beside the file, which both read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.engines import labels
from lab.errors import RunFailed
from lab.libyaml import DUMPER, LOADER
from lab.topology import Host, Network, Program, Topology

Service = dict[str, Any]


STARTED_AFTER = {
    "host": (),
    "capture": ("host",),
    "server": ("host",),
    "fleet": ("host", "capture", "server"),
    "actor": ("host", "capture", "server"),
    "crafter": ("host", "capture", "server"),
    "switch": ("host", "capture", "server"),
}
"""By hand: the roles that must be ready before a program of this role starts."""

KEEPER_OWNS = ("networks", "hostname", "extra_hosts", "sysctls")
"""What belongs to a host's network stack, hence to its keeper alone."""

FIRST_PRIORITY = 1000
"""Networks with higher priority are connected first: the first becomes eth0, the next eth1."""


def load_base(path: Path) -> dict[str, Service]:
    """Read the base file; return the service of each role, without what is the smallest lab's own.

    Raises RunFailed when a role has none.
    """
    roles: dict[str, Service] = {}
    for service in yaml.load(path.read_text(), LOADER)["services"].values():
        role = service.get("labels", {}).get(labels.ROLE)
        if role and role not in roles:
            kept = copy.deepcopy(service)
            for key in ("build", "image", "command", "labels", "volumes", "depends_on", "network_mode", "profiles"):
                kept.pop(key, None)
            for key in KEEPER_OWNS:
                kept.pop(key, None)
            roles[role] = kept
    if missing := set(STARTED_AFTER) - set(roles):
        raise RunFailed(f"{path}: no service with the label {labels.ROLE}={sorted(missing)[0]}")
    return roles


def render(
    topology: Topology,
    *,
    roles: Mapping[str, Service],
    images: Mapping[str, str],
    run_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the Compose project of one run: `roles` from `load_base`, `images` from image name to tag."""
    escaped = {key: literal(value) for key, value in run_labels.items()}
    services = {
        service_name(program): _service(topology, program, roles[program.role], images[program.image], escaped)
        for program in topology.programs
    }
    routed = any(len(host.interfaces) > 1 for host in topology.hosts)
    return {
        "services": services,
        "networks": {network.name: _network(network, escaped, routed=routed) for network in topology.networks},
        "volumes": {volume_name(host.name): {"labels": {**escaped, labels.HOST: host.name}} for host in topology.hosts},
    }


def to_yaml(project: Mapping[str, Any], header: str) -> str:
    """Return the project as the text of a Compose file, `header` before it as comment lines."""
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    return comment + yaml.dump(project, Dumper=DUMPER, sort_keys=False, width=120, allow_unicode=True)


def service_name(program: Program) -> str:
    """Return the service a program runs as: its host's name for the keeper, else `<host>.<role>`."""
    return program.host if program.role == "host" else f"{program.host}.{program.role}"


def volume_name(host: str) -> str:
    """Return the volume that a host's programs share at /out."""
    return f"{host}-out"


def _service(topology: Topology, program: Program, role: Service, image: str, run_labels: Mapping[str, str]) -> Service:
    host = topology.host(program.host)
    service = copy.deepcopy(role)
    service |= {
        "image": image,
        "command": [literal(word) for word in ("python", "-m", program.module, *program.arguments)],
        "cap_add": list(program.capabilities),
        "volumes": [f"{volume_name(host.name)}:/out"],
        "labels": {
            **run_labels,
            labels.HOST: host.name,
            labels.ROLE: program.role,
            labels.PROGRAM: program.name,
        },
    }
    if program.capabilities:
        # A capability is effective for root alone: Docker gives no ambient capabilities to other users.
        service["user"] = "0:0"
    else:
        del service["cap_add"]
    if host.cpus is not None:
        service["cpus"] = host.cpus
    if host.memory_bytes is not None:
        service["mem_limit"] = host.memory_bytes
    if program.nofile is not None:
        service["ulimits"] = {"nofile": {"soft": program.nofile, "hard": program.nofile}}
    if program.role == "host":
        service |= _network_stack(topology, host)
    else:
        service["network_mode"] = f"service:{host.name}"
        service["depends_on"] = _waits_for(topology, program)
    return service


def _network_stack(topology: Topology, host: Host) -> Service:
    stack: Service = {
        "hostname": host.name,
        "networks": {
            interface.network: {"ipv4_address": interface.address, "priority": FIRST_PRIORITY - index}
            for index, interface in enumerate(host.interfaces)
        },
        "extra_hosts": [f"{other.name}:{address_towards(host, other)}" for other in topology.hosts],
    }
    if host.sysctls:
        stack["sysctls"] = {key: literal(value) for key, value in host.sysctls.items()}
    return stack


def address_towards(host: Host, other: Host) -> str:
    """Return the address `host` knows `other` by: the one on a network both are on, else its first."""
    shared = {interface.network for interface in host.interfaces}
    return next((i.address for i in other.interfaces if i.network in shared), other.interfaces[0].address)


def _waits_for(topology: Topology, program: Program) -> Service:
    """By hand: start a program when its keeper is ready, a fleet when all servers and captures are."""
    before = STARTED_AFTER[program.role]
    needed = [
        other
        for other in topology.programs
        if other.role in before and (other.role != "host" or other.host == program.host)
    ]
    return {service_name(other): {"condition": "service_healthy"} for other in needed}


def _network(network: Network, run_labels: Mapping[str, str], *, routed: bool) -> dict[str, Any]:
    """Describe one bridge. Nothing gets out of it: it is internal.

    Docker drops frames on an internal bridge whose addresses are of another subnet, also those a router host of the
    lab passes on. A lab with such a host has open bridges instead, without address translation.
    """
    options = {"com.docker.network.driver.mtu": str(network.mtu)}
    if routed:
        options["com.docker.network.bridge.enable_ip_masquerade"] = "false"
    return {
        "driver": "bridge",
        "internal": not routed,
        "driver_opts": options,
        "ipam": {"config": [{"subnet": network.subnet}]},
        "labels": {**run_labels, labels.NETWORK: network.name},
    }


def literal(text: str) -> str:
    """Return text that Compose leaves as it is: it replaces `$NAME` and reads `$$` as one dollar sign."""
    return text.replace("$", "$$")
