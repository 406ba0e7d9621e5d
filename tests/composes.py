"""The two Composes that the lab works with, for tests on a real Docker engine; both may be installed side by side."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.engines.docker_access import compose_command

COMPOSES = {"v1": "docker-compose", "v2": "docker compose"}
"""Version -> the words that start it: what Debian 12 ships, and the plugin of the `docker` command."""
ENGINES = ["netns", *(pytest.param(f"compose {version}", marks=pytest.mark.live) for version in COMPOSES)]
"""Every engine, and compose with each Compose, as parameters; `chosen` makes a name of an engine of them."""


def words_or_skip(version: str) -> list[str]:
    """Return the words that start this Compose; the test is skipped, naming it, where it is missing."""
    words = shlex.split(COMPOSES[version])
    try:
        answer = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"`{words[0]}` is missing")
    found = answer.stdout.strip().removeprefix("v")
    # `docker-compose` may be the plugin under its old name; the plugin has versions from 2 on.
    if answer.returncode != 0 or found.startswith("1.") != (version == "v1"):
        pytest.skip(f"`{COMPOSES[version]}` {version} is missing{f' (it is {found})' if found else ''}")
    return words


@contextmanager
def using(version: str) -> Iterator[None]:
    """Have the lab use this Compose, in this process and in those it starts meanwhile."""
    words_or_skip(version)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_COMPOSE", COMPOSES[version])
        _forget()
        yield
    _forget()


def _forget() -> None:
    compose_command.cache_clear()


@contextmanager
def chosen(parameter: str) -> Iterator[str]:
    """Name the engine of a parameter of `ENGINES`, and have it use the Compose that the parameter names."""
    name, _, version = parameter.partition(" ")
    if not version:
        yield name
        return
    with using(version):
        yield name
