"""What a Docker engine allows, as Facts: asked of its API, and for limits found out inside a container.

Containers inherit limits from the engine, and a container that asks for more does not start, so a probe container looks
from inside (`lab.inside.probe`; half a second). What it found is kept in the user's cache folder until anything that
could change it does: the engine (its id, version, start as far as it can be told), the kernel, the image.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

from lab.engines import labels
from lab.engines.base_image import image_id
from lab.engines.kept import forget, kept, mark
from lab.errors import MachineLacks, RunFailed
from lab.topology import Facts

PROBE_S = 60
LIMITS = "docker-limits"
"""The name under which the probe's findings are kept."""
ENGINE_FILES = ("/run/docker.pid", "/var/run/docker.pid", "/run/docker.sock", "/var/run/docker.sock")
"""New ones appear when a local engine starts; its limits may be others then."""


def docker_facts(api: docker.APIClient, image: str, *, engine: str, version: str) -> Facts:
    """Return the facts of an engine whose host image is there. Raises MachineLacks, RunFailed."""
    info = api.info()
    if info["OSType"] != "linux":
        raise MachineLacks(f"Docker: the engine runs {info['OSType']} containers", hint="switch it to Linux containers")
    found = probe_limits(api, info, image)
    subnets = {*_docker_subnets(api), *(_local_subnets() if _is_local(api) else ())}
    return Facts(
        engine=engine,
        engine_version=f"Docker {info['ServerVersion']}, {version}",
        kernel=found["kernel"],
        architecture=found["architecture"],
        cpus=info["NCPU"],
        memory_bytes=info["MemTotal"],
        nofile_hard=found["nofile_hard"],
        pids_max=found["pids_max"],
        conntrack_max=found["conntrack_max"],
        port_range=(found["port_range"][0], found["port_range"][1]),
        taken_subnets=tuple(sorted(subnets)),
        file_max=found.get("file_max"),  # absent from what an older version has kept
        missing=tuple(found["missing"]),
    )


def probe_limits(api: docker.APIClient, info: dict[str, Any], image: str) -> dict[str, Any]:
    """Return what `lab.inside.probe` finds in a container, from the cache where nothing has changed since."""
    return kept(LIMITS, _conditions(info, image_id(api, image)), lambda: _probe(api, image))


def forget_limits() -> None:
    """Drop what is kept: a container was refused what the probe had found allowed."""
    forget(LIMITS)


def _conditions(info: dict[str, Any], image_id: str) -> list[str]:
    """Return whatever the findings depend on."""
    engine = [info["ID"], info["ServerVersion"], info["KernelVersion"], str(info["SecurityOptions"])]
    return [*engine, image_id, *(mark(file) for file in ENGINE_FILES)]


def _probe(api: docker.APIClient, image: str) -> dict[str, Any]:
    container = api.create_container(
        image,
        ["python", "-m", "lab.inside.probe"],
        user="0:0",
        labels={labels.PROJECT: labels.PROJECT_NAME, labels.RUN: "probe", labels.OWNER: str(labels.Owner.current())},
        host_config=api.create_host_config(
            network_mode="none", cap_drop=["ALL"], cap_add=["NET_ADMIN"], security_opt=["no-new-privileges:true"]
        ),
    )["Id"]
    try:
        api.start(container)
        exit_code = api.wait(container, timeout=PROBE_S)["StatusCode"]
        output = api.logs(container, stdout=True, stderr=exit_code != 0).decode(errors="replace").strip()
    except APIError as error:
        raise RunFailed(f"Docker: a container to probe the limits cannot start: {error.explanation}") from error
    finally:
        with suppress(NotFound):
            api.remove_container(container, force=True, v=True)
    if exit_code != 0:
        raise RunFailed(f"Docker: the probe of the limits failed with exit code {exit_code}: {output[-500:]}")
    return dict(json.loads(output))


def _docker_subnets(api: docker.APIClient) -> list[str]:
    pools = [pool for n in api.networks() for pool in (n.get("IPAM") or {}).get("Config") or []]
    return [pool["Subnet"] for pool in pools if "." in pool.get("Subnet", "")]


def _is_local(api: docker.APIClient) -> bool:
    return str(api.base_url).startswith(("http+docker://localhost", "http+docker://localnpipe"))


def _local_subnets() -> list[str]:
    """Return the IPv4 subnets this machine has routes to, the default route left out (proc(5), /proc/net/route)."""
    table = Path("/proc/net/route")
    if not table.exists():
        return []
    subnets = []
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (socket.inet_ntoa(struct.pack("=I", int(fields[n], 16))) for n in (1, 7))
        if mask != "0.0.0.0":
            subnets.append(str(ipaddress.IPv4Network((destination, mask))))
    return subnets
