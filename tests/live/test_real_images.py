"""The images that the lab builds, as a real Docker engine holds and runs them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import docker
import pytest
from docker_lab import until

from lab.engines import labels
from lab.engines.compose import ComposeEngine
from lab.engines.docker_resources import find
from lab.engines.images import ROOT, ensure_images


def test_a_second_preparation_builds_nothing_and_has_nothing_to_say(api: docker.APIClient) -> None:
    first = ensure_images(api, ["host", "capture"], lambda _: None)
    said: list[str] = []
    assert ensure_images(api, ["host", "capture"], said.append) == first
    assert said == []


@pytest.mark.parametrize("image", ["host", "capture"])
def test_an_image_runs_as_nobody_and_has_no_trace_of_its_build(api: docker.APIClient, image: str) -> None:
    tag = ensure_images(api, [image], lambda _: None)[image].tag
    script = "id -u; python -V; test -e /wheels || echo no wheels; stat -c %a /out"
    said = subprocess.run(
        ["docker", "run", "--rm", tag, "sh", "-c", script], capture_output=True, text=True, check=True
    )
    uid, python, wheels, mode = said.stdout.split("\n")[:4]
    assert (uid, wheels, mode) == ("10001", "no wheels", "1777")
    assert python.startswith("Python 3.13.")


def test_stock_scapy_compiles_a_filter_with_the_libpcap_of_the_capture_image(api: docker.APIClient) -> None:
    tag = ensure_images(api, ["capture"], lambda _: None)["capture"].tag
    script = "from scapy.arch.common import compile_filter; print(compile_filter('tcp port 80', linktype=1).bf_len > 0)"
    words = ["docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", tag, "python", "-c", script]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"


def test_an_image_build_that_was_killed_leaves_nothing_that_clean_does_not_find(api: docker.APIClient) -> None:
    base = ensure_images(api, ["host"], lambda _: None)["host"].tag
    dockerfile = f"FROM {base}\nLABEL wirelab.stage=build\nRUN sleep 300 # {secrets.token_hex(4)}\n"
    script = (
        "import io, sys\nfrom lab.engines.docker_access import connect\n"
        "dockerfile = io.BytesIO(sys.argv[1].encode())\n"
        "for step in connect().build(fileobj=dockerfile, rm=True, forcerm=True, decode=True): pass\n"
    )
    before = {r.id for r in find(api)}
    with subprocess.Popen(
        [sys.executable, "-c", script, dockerfile], env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as build:
        until(lambda: any(r.running and r.id not in before for r in find(api)), "the build to run its step")
        mine = [r for r in find(api) if r.id not in before and r.labels.get(labels.STAGE) == labels.STAGE_BUILD]
        build.kill()
    until(lambda: not any(r.running for r in find(api) if r.id in {m.id for m in mine}), "the step to end")
    left = [leftover for leftover in ComposeEngine().leftovers() if leftover.name in {m.name for m in mine}]
    assert not any(leftover.alive for leftover in left)
    ComposeEngine().remove(left)
    assert {r.id for r in find(api)} & {m.id for m in mine} == set()
