"""The way to the Docker engine and to Compose: found as the `docker` command finds them, or a remedy said.

The API client goes where the command goes: `$DOCKER_HOST`, else the current Docker context, else the local socket. So
Docker Desktop, rootless Docker and a remote machine over SSH work as they do in the user's shell.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Sequence
from functools import cache
from typing import Any

import docker
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.tls import TLSConfig

from lab.engines import child
from lab.engines.kept import kept, mark
from lab.errors import MachineLacks

API_TIMEOUT_S = 60
ANSWER_S = 30.0
"""How long Compose may take to tell its version."""
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
"""Where the `docker` command looks for `docker compose`, beside the user's own folder."""
CONNECTIONS = 64
"""One for each container whose output is followed, and some for requests beside them."""


def connect() -> docker.APIClient:
    """Return a client of the engine's API. Raises MachineLacks with the remedy when no engine answers."""
    where, tls = _endpoint()
    try:
        _knock(where or DEFAULT_SOCKET)
        client = docker.APIClient(
            base_url=where,
            version="auto",
            timeout=API_TIMEOUT_S,
            tls=tls,
            max_pool_size=CONNECTIONS,
            use_ssh_client=True,
        )
    except (DockerException, OSError) as error:
        raise _no_engine(where or DEFAULT_SOCKET, error) from error
    return client


def _knock(where: str) -> None:
    """Connect to a Unix socket and let go again: says exactly why it cannot be reached (the client would not)."""
    if where.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(where.removeprefix("unix://"))


def _endpoint() -> tuple[str | None, TLSConfig | bool]:
    """Return where the engine listens (None: the platform's default) and how to speak to it."""
    if host := os.environ.get("DOCKER_HOST"):
        certificates = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
        if os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_CERT_PATH"):
            return host, TLSConfig(
                client_cert=(f"{certificates}/cert.pem", f"{certificates}/key.pem"),
                ca_cert=f"{certificates}/ca.pem",
                verify=bool(os.environ.get("DOCKER_TLS_VERIFY")),
            )
        return host, False
    name = os.environ.get("DOCKER_CONTEXT")
    context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    if context is None:
        raise MachineLacks(f"Docker: context {name!r} does not exist", hint="list them with `docker context ls`")
    return context.Host, context.TLSConfig or False


def _no_engine(where: str, error: Exception) -> MachineLacks:
    """Translate why the engine did not answer into what the user can do about it."""
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return MachineLacks(
            f"Docker: no permission to use {where}",
            hint="join the docker group (`sudo usermod -aG docker $USER`, then log in again), or use --engine netns",
        )
    if shutil.which("docker") is None and shutil.which("dockerd") is None:
        return MachineLacks(
            "Docker: not installed",
            hint="install it (`apt-get install docker.io docker-compose`), or use --engine netns",
        )
    return MachineLacks(
        f"Docker: no engine answers at {where}: {error}",
        hint="start it (`sudo systemctl start docker`, or Docker Desktop), or use --engine netns",
    )


@cache
def compose_command() -> tuple[str, ...]:
    """Return the words that start Compose: `$LAB_COMPOSE`, else `docker compose`, else `docker-compose`.

    Raises MachineLacks when there is none.
    """
    return tuple(_compose()["words"])


def compose_version() -> str:
    """Return Compose's name and version for people, e.g. `docker compose 2.26.1-4`. Raises MachineLacks."""
    found = _compose()
    return f"{' '.join(found['words'])} {found['version'] or 'of unknown version'}"


def _compose() -> dict[str, Any]:
    """Find Compose and its version; asking takes nearly a second with 1.29, so the answer is kept."""
    chosen = os.environ.get("LAB_COMPOSE")
    candidates = [shlex.split(chosen)] if chosen else [["docker", "compose"], ["docker-compose"]]
    programs = [shutil.which(words[0]) for words in candidates]
    folders = [os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), *PLUGIN_FOLDERS]
    plugins = [f"{folder}/{'cli-plugins/' * (place == 0)}docker-compose" for place, folder in enumerate(folders)]
    conditions = [candidates, *map(mark, programs), *map(mark, plugins)]
    return kept("compose", conditions, lambda: _ask_compose(candidates, trusted=bool(chosen)))


def _ask_compose(candidates: Sequence[Sequence[str]], *, trusted: bool) -> dict[str, Any]:
    """Ask each candidate for its version; the first that answers it is (`trusted`: also one that does not)."""
    for words in candidates:
        if shutil.which(words[0]):
            answer = child.run([*words, "version", "--short"], timeout_s=ANSWER_S)
            if answer.exit_code == 0 or trusted:
                return {"words": list(words), "version": answer.last_lines(1).strip()}
    if trusted:
        return {"words": list(candidates[0]), "version": ""}
    raise MachineLacks(
        "Docker Compose: neither `docker compose` nor `docker-compose` works here",
        hint="install one of them (Debian: `apt-get install docker-compose`), or use --engine netns",
    )
