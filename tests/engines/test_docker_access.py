from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engines import child, docker_access
from lab.engines.docker_access import compose_command, connect
from lab.errors import MachineLacks


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compose_command.cache_clear()
    yield
    for remembered in (compose_command, child.bound_to_parent):  # with a PATH of these tests
        remembered.cache_clear()


def test_no_engine_is_a_lack_of_the_machine_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(MachineLacks) as lack:
        connect()
    assert lack.value.exit_code == 3
    assert "--engine netns" in str(lack.value.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_no_permission_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{closed}/docker.sock")
    with pytest.raises(MachineLacks, match="permission") as lack:
        connect()
    assert "usermod" in str(lack.value.hint)


@pytest.mark.parametrize(
    ("error", "installed", "remedy"),
    [
        ("[Errno 13] Permission denied", True, "usermod"),
        ("[Errno 2] No such file or directory", False, "apt-get install"),
        ("[Errno 111] Connection refused", True, "systemctl start"),
    ],
)
def test_each_reason_has_its_own_remedy(
    monkeypatch: pytest.MonkeyPatch, error: str, installed: bool, remedy: str
) -> None:
    monkeypatch.setattr(docker_access.shutil, "which", lambda _name: "/usr/bin/docker" if installed else None)
    assert remedy in str(docker_access._no_engine("unix:///x.sock", OSError(error)).hint)


def commands(folder: Path, **scripts: str) -> str:
    """Make a folder of commands; return it as PATH."""
    for name, script in scripts.items():
        command = folder / name.replace("_", "-")
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    return str(folder)


def test_the_plugin_is_preferred_then_the_command_of_old_then_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_COMPOSE", raising=False)
    monkeypatch.setenv("PATH", commands(tmp_path, docker="exit 0", docker_compose="exit 0"))
    assert compose_command() == ("docker", "compose")
    compose_command.cache_clear()
    commands(tmp_path, docker="exit 1")
    assert compose_command() == ("docker-compose",)
    compose_command.cache_clear()
    commands(tmp_path, docker_compose="exit 1")
    with pytest.raises(MachineLacks) as lack:
        compose_command()
    assert "docker-compose" in str(lack.value.hint)


def test_lab_compose_overrides_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_COMPOSE", "/opt/compose --ansi never")
    assert compose_command() == ("/opt/compose", "--ansi", "never")
