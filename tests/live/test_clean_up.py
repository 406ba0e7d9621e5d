"""What ends a run, at whatever moment, leaves nothing of it on the Docker engine and touches nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import docker
import pytest
from compose_lab import two_hosts
from docker_lab import free_subnet, is_still, names_of, serve, until

from lab.engines.compose import ComposeEngine
from lab.engines.docker_resources import find, remove
from lab.engines.images import ROOT, ensure_images
from lab.errors import TeardownIncomplete

MADE_HERE = "wirelab-test.made-by"


def test_down_reports_what_a_stranger_holds_and_touches_no_stranger(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    engine.up(two_hosts(subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    network = next(r for r in find(api, run_id) if r.kind == "network")
    image = ensure_images(api, ["host"], lambda _: None)["host"].tag
    stranger = api.create_container(
        image, ["sleep", "300"], name=f"foreign-{run_id}", host_config=api.create_host_config(network_mode=network.name)
    )["Id"]
    try:
        api.start(stranger)
        with pytest.raises(TeardownIncomplete, match=f"foreign-{run_id}") as incomplete:
            engine.down()
        assert incomplete.value.exit_code == 5
        assert names_of(api, run_id) == {network.name}
        assert api.inspect_container(stranger)["State"]["Running"]
    finally:
        api.remove_container(stranger, force=True)
    engine.down()
    assert names_of(api, run_id) == set()


OWNER = """
import sys
from pathlib import Path
from compose_lab import two_hosts
from lab.engines.compose import ComposeEngine
engine = ComposeEngine()
topology = two_hosts(subnet=sys.argv[3])
engine.prepare(topology, lambda _: None)
print("up", flush=True)
engine.up(topology, run_id=sys.argv[1], run_folder=Path(sys.argv[2]), say=lambda _: None)
print("done", flush=True)
sys.stdin.read()
"""


def owner(run_id: str, folder: Path, subnet: str) -> subprocess.Popen[str]:
    """Start a lab process of its own that brings hosts up and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, run_id, str(folder), subnet],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'engines'}"},
    )


@pytest.mark.parametrize("moment", ["first container", "done"])
def test_after_kill_9_clean_removes_what_is_left_and_nothing_else(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, moment: str
) -> None:
    image = ensure_images(api, ["host"], lambda _: None)["host"].tag
    living = f"{run_id}-living"
    for folder in ("dead", "living"):
        (tmp_path / folder).mkdir()
    engine.up(two_hosts(subnet=free_subnet(api)), run_id=living, run_folder=tmp_path / "living", say=lambda _: None)
    before = names_of(api, living)
    foreign_network = api.create_network(f"foreign-{run_id}", labels={MADE_HERE: "test"})["Id"]
    foreign_volume = api.create_volume(f"foreign-{run_id}", labels={MADE_HERE: "test"})["Name"]
    foreign = api.create_container(image, ["sleep", "300"], name=f"foreign-{run_id}", labels={MADE_HERE: "test"})["Id"]
    try:
        with owner(run_id, tmp_path / "dead", free_subnet(api)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            if moment == "done":
                assert process.stdout.readline() == "done\n"
            else:
                until(lambda: any(r.kind == "container" for r in find(api, run_id)), "the first container")
            process.kill()
        another = ComposeEngine()
        until(lambda: is_still(api, run_id), "the engine to end what was under way")
        left = [leftover for leftover in another.leftovers() if leftover.run == run_id]
        assert left
        assert not any(leftover.alive for leftover in left)
        assert all(leftover.alive for leftover in another.leftovers() if leftover.run == living)
        another.remove(left)
        assert names_of(api, run_id) == set()
        assert names_of(api, living) == before
        assert api.inspect_container(foreign)["Name"] == f"/foreign-{run_id}"
        assert api.inspect_network(foreign_network)["Name"] == api.inspect_volume(foreign_volume)["Name"]
    finally:
        remove(api, find(api, run_id))
        api.remove_container(foreign, force=True)
        api.remove_network(foreign_network)
        api.remove_volume(foreign_volume)


# An interrupt inside the Docker library's connect leaves that socket to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("when_s", [0.3, 0.9, 1.8])
def test_interrupted_anywhere_in_up_down_leaves_nothing(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, when_s: float
) -> None:
    topology = two_hosts(serve("server"), subnet=free_subnet(api))
    engine.prepare(topology, lambda _: None)
    # It may come within up or after it.
    interrupt = threading.Timer(when_s, lambda: os.kill(os.getpid(), 2))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        interrupt.start()
        engine.up(topology, run_id=run_id, run_folder=tmp_path, say=lambda _: None)
        interrupt.join()
        threading.Event().wait(1.0)
    engine.down()
    assert is_still(api, run_id)
    assert names_of(api, run_id) == set()
