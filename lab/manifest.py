"""The manifest: what one needs to know to repeat a run, and to judge it later without the scenario's code.

Expectations are stored resolved (numbers in base units), so that the judging half of the lab reads files alone.
"""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import lab
from lab import measures
from lab.scenario.check import host_names
from lab.scenario.load import Loaded
from lab.scenario.script import Listen
from lab.scenario.traffic import asks_ns
from lab.scenario.values import resolve
from lab.store import Run
from lab.topology import Facts, Topology

PROJECT = Path(__file__).resolve().parent.parent


def write_manifest(run: Run, loaded: Loaded, facts: Facts, topology: Topology, images: dict[str, str]) -> None:
    """Store `manifest.json` in the run folder."""
    scenario = loaded.scenario
    run.write_json(
        "manifest.json",
        {
            "scenario": loaded.name,
            "title": scenario.title,
            "lesson": scenario.lesson,
            "run": run.id,
            "engine": facts.engine,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seed": scenario.seed,
            "requested_s": asks_ns(scenario) / 1e9,
            "facts": dataclasses.asdict(facts),
            "images": images,
            "server_host": vantage(loaded),
            **{
                key: part.model_dump()
                for key, part in (("server", scenario.server), ("fleet", scenario.fleet))
                if part is not None
            },
            "script": [step.model_dump(by_alias=True, exclude_none=True) for step in scenario.script],
            "captures": [c.model_dump() for c in scenario.capture],
            "expectations": expectations(loaded),
            "arithmetic": list(topology.arithmetic),
            "git_revision": _git_revision(),
            "versions": _versions(),
        },
    )


def vantage(loaded: Loaded) -> str:
    """Return the host whose side the run is told from: the server's; of a script the first that listens or, without
    one, the first that is captured."""
    scenario = loaded.scenario
    names = host_names(scenario)
    if scenario.server is not None:
        return scenario.server.host
    captured = [name for c in scenario.capture for name, group in names.items() if c.host in (name, group)]
    listening = [step.at for step in scenario.script if isinstance(step, Listen)]
    return next(iter([name for name in listening if name in captured] + captured + listening + list(names)))


def expectations(loaded: Loaded) -> list[dict[str, Any]]:
    """Return the scenario's expectations with every right-hand side as a number in the measure's unit."""
    scenario = loaded.scenario
    resolved = []
    if scenario.script:
        resolved.append(_as_written(vantage(loaded)))
    for expectation in scenario.expect:
        measure = measures.find(expectation.what)
        unit = measure.unit if measure is not None else "count"
        row: dict[str, Any] = {
            "what": expectation.what,
            "at": expectation.at or vantage(loaded),
            "query": expectation.query,
            "because": expectation.because,
            "unit": unit,
        }
        for key in ("equal", "at_least", "at_most"):
            value = getattr(expectation, key)
            row[key] = None if value is None else resolve(value, scenario, unit)
        resolved.append(row)
    return resolved


def _as_written(at: str) -> dict[str, Any]:
    """Return what every script expects: each step ends as it says."""
    return {
        "what": "script.unexpected",
        "at": at,
        "query": None,
        "because": "every step of the script must have been made, and have ended as written",
        "unit": "count",
        "equal": 0,
        "at_least": None,
        "at_most": None,
    }


def _git_revision() -> str | None:
    """Return the checkout's revision, with `+changes` where files differ from it; None outside a checkout."""
    try:
        git = subprocess.run(
            ["git", "-C", str(PROJECT), "describe", "--always", "--abbrev=12", "--dirty=+changes"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() or None


def _versions() -> dict[str, str]:
    versions = {"wirelab": lab.__version__, "python": platform.python_version()}
    for package in ("docker", "scapy", "pydantic", "numpy", "numba", "polars", "libpcap", "pyroute2"):
        versions[package] = metadata.version(package)
    return versions
