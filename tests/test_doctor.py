"""What the doctor says: each engine's state, what is lacking with its meaning and its remedy."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from lab.doctor import describe
from lab.engines.netns_probe import PROBES
from lab.topology.facts import LACKING
from tests.topology.test_plan import FACTS


def findings(*engines: dict[str, Any]) -> dict[str, Any]:
    return {"python": "3.13.0", "engines": list(engines), "tools": {"tshark": None}, "models": {"trio": ["trio"]}}


def test_what_an_engine_lacks_is_told_with_its_meaning_and_its_remedy():
    text = describe(findings({"name": "netns", "usable": True, "facts": asdict(replace(FACTS, missing=("io_uring",)))}))
    assert "engine netns: works (test, kernel 6.1, x86_64)" in text
    assert "  lacks io_uring: the I/O model io-uring cannot run" in text
    assert "    remedy: sudo sysctl kernel.io_uring_disabled=0" in text


def test_an_engine_that_cannot_work_is_told_with_the_obstacle_and_the_remedy():
    obstacle = {"name": "compose", "usable": False, "obstacle": "no engine answers", "remedy": "start dockerd"}
    assert "engine compose: cannot work here: no engine answers\n  remedy: start dockerd" in describe(
        findings(obstacle)
    )


def test_models_without_their_library_and_tools_that_are_absent_are_named():
    text = describe(findings())
    assert "I/O model trio: needs trio" in text
    assert "tshark: not installed" in text


@pytest.mark.parametrize("name", [*PROBES, "netem", "io_uring"])
def test_everything_an_engine_tries_has_a_meaning_when_it_is_lacking(name: str):
    assert all(LACKING[name])
