"""What the lab has in a Docker engine: containers, networks, volumes, found and removed by their labels alone.

Only what carries `wirelab.run`, and containers of an image build that was killed half-way, are ever removed. Each goes
by its id; what carries no label of ours is not touched, even if it stands in the way (then the answer names it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import docker
from docker.errors import APIError, NotFound
from requests.exceptions import RequestException

from lab.engines import Leftover, labels
from lab.errors import TeardownIncomplete

AT_ONCE = 16
GONE_WITHIN_S = 30.0
"""How long a removal may take; the engine frees a container's network a little after the container."""
STILL_IN_USE = (409, 403)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One container, network or volume."""

    kind: str
    """`container`, `network` or `volume`."""
    id: str
    name: str
    labels: dict[str, str]
    running: bool = False

    @property
    def run(self) -> str:
        """The run id it was made for; `image build` for a container of a build."""
        return self.labels.get(labels.RUN, "image build")


def find(api: docker.APIClient, run_id: str | None = None) -> list[Resource]:
    """List what the lab has in the engine: of one run, or (None) of all runs and of image builds."""
    marks = [f"{labels.PROJECT}={labels.PROJECT_NAME}", f"{labels.RUN}={run_id}" if run_id else labels.RUN]
    found = _containers(api, marks)
    if run_id is None:
        stage = f"{labels.STAGE}={labels.STAGE_BUILD}"
        found += [c for c in _containers(api, [marks[0], stage]) if labels.RUN not in c.labels]
    found += [
        Resource(kind="network", id=n["Id"], name=n["Name"], labels=n["Labels"] or {})
        for n in api.networks(filters={"label": marks})
    ]
    found += [
        Resource(kind="volume", id=v["Name"], name=v["Name"], labels=v["Labels"] or {})
        for v in api.volumes(filters={"label": marks})["Volumes"] or []
    ]
    return found


def _containers(api: docker.APIClient, marks: list[str]) -> list[Resource]:
    return [
        Resource(
            kind="container",
            id=c["Id"],
            name=(c["Names"] or [c["Id"][:12]])[0].lstrip("/"),
            labels=c["Labels"] or {},
            running=c["State"] == "running",
        )
        for c in api.containers(all=True, filters={"label": marks})
    ]


def as_leftovers(resources: Sequence[Resource]) -> list[Leftover]:
    """Say of each resource whether its run is still in use."""
    running = {resource.run for resource in resources if resource.running}
    return [
        Leftover(
            kind=resource.kind,
            name=resource.name,
            run=resource.run,
            alive=labels.in_use(
                resource.labels,
                running=resource.running if labels.RUN not in resource.labels else resource.run in running,
            ),
        )
        for resource in resources
    ]


def remove(api: docker.APIClient, resources: Iterable[Resource]) -> dict[str, str]:
    """Remove resources, containers first; return what remains: `kind name` -> why. Gone already is as good."""
    wanted = list(resources)
    remains: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="remove") as pool:
        for kind in ("container", "network", "volume"):
            of_kind = [resource for resource in wanted if resource.kind == kind]
            reasons = pool.map(lambda resource: _remove_one(api, resource), of_kind)
            remains |= {f"{r.kind} {r.name}": why for r, why in zip(of_kind, reasons, strict=True) if why}
    return remains


def refuse_remains(remains: dict[str, str]) -> None:
    """Say what could not be removed, as `remove` returns it. Raises TeardownIncomplete unless there is nothing."""
    if remains:
        listed = "\n".join(f"{what}: {why}" for what, why in remains.items())
        raise TeardownIncomplete(
            f"{len(remains)} things could not be removed\n{listed}", hint="remove what uses them, then `lab clean`"
        )


def _remove_one(api: docker.APIClient, resource: Resource) -> str | None:
    """Remove one resource and see it gone; return why it is not."""
    how: dict[str, Callable[[], object]] = {
        "container": lambda: api.remove_container(resource.id, force=True, v=True),
        "network": lambda: api.remove_network(resource.id),
        "volume": lambda: api.remove_volume(resource.id),
    }
    deadline = time.monotonic() + GONE_WITHIN_S
    pause_s = 0.02
    while True:
        try:
            how[resource.kind]()
            return None
        except NotFound:
            return None
        except (APIError, RequestException) as error:
            # 409: its removal is under way, or its last user is just going away; 403: a network with endpoints.
            reason = str(getattr(error, "explanation", None) or error)
            status = getattr(error, "status_code", None)
            if (stranger := _used_by_stranger(api, resource)) is not None:
                return f"{reason}; {stranger} uses it, and that is not the lab's"
            if status not in STILL_IN_USE or time.monotonic() > deadline:
                return reason
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.5)


def _used_by_stranger(api: docker.APIClient, resource: Resource) -> str | None:
    """Name a container that holds a network or volume of ours without being ours."""
    if resource.kind == "container":
        return None
    try:
        users = api.containers(all=True, filters={resource.kind: resource.id})
    except (APIError, RequestException):
        return None
    for user in users:
        if labels.RUN not in (user["Labels"] or {}):
            return f"container {user['Names'][0].lstrip('/')}"
    return None
