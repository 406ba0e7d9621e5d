"""A run's Compose file and the base project work by hand, with each Compose."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest
from compose_lab import two_hosts
from composes import COMPOSES, using, words_or_skip
from docker_lab import free_subnet, names_of, serve

from lab.engines import labels
from lab.engines.compose import FILE, ComposeEngine
from lab.engines.docker_access import compose_command, compose_version
from lab.engines.docker_resources import find
from lab.engines.images import ROOT, ensure_images


def test_a_runs_file_works_by_hand_and_its_down_removes_what_the_lab_made(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    ran = serve("server")
    engine.up(two_hosts(ran, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    by_hand = [*compose_command(), "-f", str(tmp_path / FILE)]
    subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)
    assert names_of(api, run_id) == set()
    subprocess.run([*by_hand, "up", "-d"], check=True, capture_output=True)
    try:
        running = {r.labels[labels.PROGRAM] for r in find(api, run_id) if r.running}
        assert running == {"server/host", "client/host", "server/server"}
    finally:
        subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)
    assert names_of(api, run_id) == set()


@pytest.mark.parametrize("version", COMPOSES)
def test_the_smallest_lab_runs_to_its_end_by_hand(api: docker.APIClient, run_id: str, version: str) -> None:
    words = words_or_skip(version)
    for image in ensure_images(api, ["host", "capture"], lambda _: None).values():
        api.tag(image.tag, f"wirelab/{image.name}", "latest")
    by_hand = [*words, "-p", run_id, "-f", str(ROOT / "docker-compose.yml")]
    try:
        to_the_end = ["up", "--abort-on-container-exit", "--exit-code-from", "client.fleet"]
        ran = subprocess.run([*by_hand, *to_the_end], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
        assert '"opened":100' in ran.stdout
    finally:
        subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)


@pytest.mark.parametrize("version", COMPOSES)
def test_the_lab_takes_the_compose_that_lab_compose_names(version: str) -> None:
    with using(version):
        assert compose_version().startswith(COMPOSES[version])


def test_without_a_wish_the_plugin_comes_before_docker_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    words_or_skip("v1")
    words = words_or_skip("v2")
    monkeypatch.delenv("LAB_COMPOSE", raising=False)
    compose_command.cache_clear()
    found = list(compose_command())
    compose_command.cache_clear()
    assert found == words
