"""A lab on a real Docker engine as these tests drive it: a server program, a free subnet, news awaited with a bound."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import docker

from lab.engines import News
from lab.engines.compose import ComposeEngine
from lab.engines.docker_resources import find
from lab.topology import Program

WITHIN_S = 60.0


def serve(host: str) -> Program:
    return Program(
        host=host,
        role="server",
        module="lab.inside.servers.epoll_server",
        arguments=("--bind", "0.0.0.0", "--port", "9000"),
    )


def free_subnet(api: docker.APIClient) -> str:
    """Return a /29 that no Docker network has."""
    taken = {pool["Subnet"] for n in api.networks() for pool in (n["IPAM"] or {}).get("Config") or []}
    while (subnet := f"10.{secrets.choice(range(100, 120))}.{secrets.randbelow(256)}.0/29") in taken:
        continue
    return subnet


def hear_until(engine: ComposeEngine, enough: Callable[[list[News]], bool]) -> list[News]:
    """Take in news until there is enough; fail after the bound with what was heard."""
    heard: list[News] = []
    deadline = time.monotonic() + WITHIN_S
    while not enough(heard):
        assert time.monotonic() < deadline, f"not enough was heard: {heard}"
        if news := engine.next_news(0.5):
            heard.append(news)
    return heard


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        threading.Event().wait(0.1)


def all_ready(count: int) -> Callable[[list[News]], bool]:
    return lambda heard: sum(n.event is not None and n.event["event"] == "ready" for n in heard) == count


def names_of(api: docker.APIClient, run_id: str) -> set[str]:
    return {resource.name for resource in find(api, run_id)}


def is_still(api: docker.APIClient, run_id: str) -> bool:
    """Say whether nothing of a run appears any more."""
    before = names_of(api, run_id)
    threading.Event().wait(1.0)
    return names_of(api, run_id) == before
