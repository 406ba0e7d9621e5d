"""What the lab takes on top of the traffic that a scenario asks for, stage by stage, on each engine.

    .venv/bin/python benchmarks/overhead.py [--scenario epoll-10k] [--engines netns,compose] [--repeats 3]

Whole runs, as `make scenario` makes them, the engines in turn; one first run of each warms up (images, compiled code)
and is not counted. The traffic that was asked for is the scenario's own word (durations, and counts at the rate it
sets); everything else, the traffic's own slowness too, is overhead. Prints one line of JSON for each engine: the median
overhead, the least and the most, and the medians of the stages; `beside_traffic` is what the traffic itself, messages
and closing included, does not explain.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REACH_S = {"compose": 10.0, "netns": 3.0}


def one_run(scenario: str, engine: str) -> dict[str, float]:
    """Run the scenario; the seconds of each stage, and under `overhead` all of them but what was asked for."""
    command = [sys.executable, "-m", "lab", "run", scenario, "--engine", engine, "--quiet"]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        sys.exit(f"{scenario} on {engine}: ended with {ended.returncode}; `lab report {scenario}` tells why")
    folder = ROOT / "runs" / scenario / "latest"
    verdict = json.loads((folder / "verdict.json").read_text())
    timing: dict[str, float] = verdict["timing_s"]
    elapsed: float = verdict["elapsed_s"]  # stages side by side take less than their sum
    asked = json.loads((folder / "manifest.json").read_text())["requested_s"]
    return {
        **timing,
        "elapsed": elapsed,
        "overhead": elapsed - asked,
        "beside_traffic": elapsed - timing["traffic"],
        "asked": asked,
    }


def figures(engine: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    over = [run["overhead"] for run in runs]
    return {
        "engine": engine,
        "reach_s": REACH_S[engine],
        "overhead_s": round(statistics.median(over), 2),
        "interval_s": [round(min(over), 2), round(max(over), 2)],
        "stages_s": {stage: round(statistics.median(run[stage] for run in runs), 2) for stage in runs[0]},
        "repeats": len(runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="epoll-10k")
    parser.add_argument("--engines", default=",".join(REACH_S))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    engines = given.engines.split(",")
    for engine in engines:
        one_run(given.scenario, engine)
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
    for _ in range(given.repeats):
        for engine in engines:
            runs[engine].append(one_run(given.scenario, engine))
    machine = {"processors": os.cpu_count(), "kernel": os.uname().release, "load": round(os.getloadavg()[0], 1)}
    for engine in engines:
        line = {"benchmark": "lab overhead", "scenario": given.scenario, **figures(engine, runs[engine])}
        print(json.dumps({**line, "machine": machine}), flush=True)


if __name__ == "__main__":
    main()
