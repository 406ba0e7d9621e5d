"""The limits of the engine are found once, and anew when it has refused one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import docker
import pytest
from compose_lab import two_hosts
from docker_lab import free_subnet, serve

from lab.engines import docker_facts
from lab.engines.compose import ComposeEngine
from lab.engines.images import ensure_images
from lab.engines.kept import kept_file
from lab.errors import RunFailed


def test_the_probe_of_the_limits_is_made_once_and_again_after_it_was_refused(
    api: docker.APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tag = ensure_images(api, ["host"], lambda _: None)["host"].tag
    probes: list[str] = []
    probe = docker_facts._probe

    def counted(client: docker.APIClient, image: str) -> dict[str, object]:
        probes.append(image)
        return probe(client, image)

    monkeypatch.setattr(docker_facts, "_probe", counted)
    first = docker_facts.probe_limits(api, api.info(), tag)
    assert docker_facts.probe_limits(api, api.info(), tag) == first
    assert len(probes) == 1
    docker_facts.forget_limits()
    assert docker_facts.probe_limits(api, api.info(), tag) == first
    assert len(probes) == 2


def test_a_limit_the_engine_refuses_fails_the_start_and_drops_the_probes_findings(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hard = engine.facts().nofile_hard
    assert kept_file(docker_facts.LIMITS).exists()
    greedy = replace(serve("server"), nofile=hard + 1)
    engine.up(two_hosts(greedy, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    with pytest.raises(RunFailed, match="server/server"):
        engine.start([greedy])
    assert not kept_file(docker_facts.LIMITS).exists()
