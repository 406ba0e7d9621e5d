"""How the cost of a connection grows with their number: 1,000 to 100,000, and a million where that is asked for.

    .venv/bin/python benchmarks/scale.py [--sizes 1000,10000,100000] [--million] [--engine netns] [--chart FILE.svg]

Each size is a whole run of the scenario `epoll-100k` (`--million`: of `epoll-1m` too) with as many client hosts as keep
within the even half of their ports: real handshakes over veth and a bridge, captured, each connection echoed once and
closed. The figures are read from what the run leaves: phases from the fleet, processor time from fleet and server,
memory from the ledger (`tables/memory.parquet`; of the whole machine, so small sizes tell little about memory). Prints
one line of JSON for each size; a verdict other than pass ends the program with exit code 1. The chart goes to FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lab.report.chart import Axis, Line, chart, linear  # noqa: E402 - the project need not be installed
from lab.units import show_count  # noqa: E402

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
EVEN_PORTS = 14_116
"""Half of the default range of ephemeral ports (net.ipv4.ip_local_port_range)."""
MANY = 10_000
"""From so many on, their memory stands out from what else changes on a machine."""


def measure(scenario: str, connections: int, engine: str) -> dict[str, Any]:
    """Run the scenario with so many connections and read what it cost."""
    command = [sys.executable, "-m", "lab", "run", scenario, "--engine", engine, "--quiet"]
    command += ["--set", f"fleet.connections={connections}"]
    if scenario == "epoll-100k":
        command += ["--set", f"hosts.client.count={max(2, -(-connections // EVEN_PORTS))}"]
    load = os.getloadavg()[0]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    return {"scenario": scenario, "load_average": round(load, 1), "exit_code": ended.returncode, **read(scenario)}


def read(scenario: str) -> dict[str, Any]:
    """Return the figures of the scenario's latest run."""
    folder = ROOT / "runs" / scenario / "latest"
    verdict = json.loads((folder / "verdict.json").read_text())
    fleets = [json.loads(path.read_text()) for path in sorted(folder.glob("hosts/*/fleet.json"))]
    [server] = [json.loads(path.read_text()) for path in folder.glob("hosts/*/server.json")]
    opened = sum(fleet["opened"] for fleet in fleets)
    seconds, cpu = {}, {}
    for same in zip(*(fleet["phases"] for fleet in fleets), strict=True):
        name = same[0]["phase"]
        seconds[name] = (max(p["end_realtime_ns"] for p in same) - min(p["begin_realtime_ns"] for p in same)) / 1e9
        cpu[name] = sum(sum(p["cpu_ns"]) for p in same) / 1e3 / max(opened, 1)
    usage = server["usage"]
    memory = pl.read_parquet(folder / "tables" / "memory.parquet")
    # Clients are connected before the server has accepted: of the rows with all sockets, the most.
    full = memory.filter(pl.col("sockets") >= opened * 0.99)["kernel_bytes_per_pair"]
    pair = float(full.max()) if full.len() and opened >= MANY else None  # type: ignore[arg-type]
    return {
        "verdict": verdict["verdict"],
        "connections": opened,
        "open_at_once": verdict_value(verdict, "fleet.open_at_once"),
        "connect_s": round(seconds["connect"], 2),
        "connects_per_s": round(opened / seconds["connect"]),
        "fleet_cpu_us_per_connect": round(cpu["connect"], 1),
        "echo_each_s": round(seconds["load"], 2),
        "fleet_cpu_us_per_echo": round(cpu["load"], 1),
        "close_s": round(seconds["drain"], 2),
        "fleet_cpu_us_per_close": round(cpu["drain"], 1),
        "server_cpu_us_per_connection": round(
            (usage["cpu_user_ns"] + usage["cpu_system_ns"]) / 1e3 / max(opened, 1), 1
        ),
        "kernel_bytes_per_pair": round(pair) if pair is not None else None,
        "packets": sum(capture["written"] for capture in verdict["capture"].values()),
        "packets_lost": sum(capture["dropped"] for capture in verdict["capture"].values()),
        "analysis_s": verdict["timing_s"]["analysis"],
    }


def verdict_value(verdict: dict[str, Any], what: str) -> Any:
    """Return what the verdict observed of an expectation; None where the scenario does not expect it."""
    return next((row["observed"] for row in verdict["expectations"] if row["what"] == what), None)


def draw(rows: list[dict[str, Any]]) -> str:
    """Draw processor time for each connection against their number; a figure that is None is left out."""
    sizes = [row["connections"] for row in rows]
    ticks = tuple((float(10**power), show_count(10**power)) for power in range(3, 7) if 10**power <= max(sizes) * 1.01)
    x = Axis(low=min(sizes), high=max(max(sizes), 10 * min(sizes)), ticks=ticks, label="connections open", log=True)
    names = {
        "fleet_cpu_us_per_connect": ("connect", "blue"),
        "fleet_cpu_us_per_echo": ("echo", "green"),
        "fleet_cpu_us_per_close": ("close", "violet"),
        "server_cpu_us_per_connection": ("server, all", "orange"),
    }
    lines = [
        Line(name=name, hue=hue, points=[(row["connections"], row[key]) for row in rows if row[key] is not None])
        for key, (name, hue) in names.items()
    ]
    y = linear(max(point[1] for line in lines for point in line.points), "us of CPU each")
    told = "; ".join(
        f"{row['connections']} connections: {row['fleet_cpu_us_per_connect']} us to connect" for row in rows
    )
    return chart("What a connection costs as their number grows", x, y, lines, told)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpus": os.cpu_count(), "memory_gib": round(memory / 2**30, 1), "kernel": os.uname().release}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--million", action="store_true", help="a run of epoll-1m too: some 13 GiB of memory")
    parser.add_argument("--engine", default="netns")
    parser.add_argument("--chart", type=Path, help="write an SVG chart here")
    given = parser.parse_args()
    runs = [("epoll-100k", int(size)) for size in given.sizes.split(",")]
    runs += [("epoll-1m", 1_000_000)] if given.million else []
    rows = []
    for scenario, connections in runs:
        rows.append(measure(scenario, connections, given.engine))
        print(json.dumps({"benchmark": "scale", **rows[-1], "machine": machine()}), flush=True)
    if given.chart is not None:
        given.chart.write_text(draw(rows) + "\n")
    if any(row["exit_code"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
