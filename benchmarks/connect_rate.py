"""How fast one fleet host opens connections, and whether all of them are there: 100,000 on one machine in at most 10 s.

    .venv/bin/python benchmarks/connect_rate.py [--connections N]

Two network namespaces as in `server_and_fleet.py`. The servers are processes of c/epoll_echo_server.c, one port each,
as many as the descriptors allowed to one process make necessary; the fleet has as many workers. Each connection is
opened, held, echoed once and closed. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.server_and_fleet import (
    PORT,
    READS_FIRST,
    ROOT,
    SERVER_ADDRESS,
    TwoHosts,
    build,
    compile_loops,
    inside_namespaces,
    machine,
)

SPARE_DESCRIPTORS = 256
REACH_S = 10.0


def measure(connections: int) -> dict[str, object]:
    """Open, hold, ask once, close; returns the figures of each step."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    workers = -(-connections // (descriptors - SPARE_DESCRIPTORS))
    hosts = TwoHosts()
    # connect(2) tries the even ports first and only then the odd ones: past half the range to one target, each connect
    # walks through that half in vain, ten times as slow. 14,116 of the default range; 32,256 of this one.
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        stack.callback(hosts.close)
        folder = Path(name)
        compile_loops()
        server = str(build(folder) / "epoll_echo_server")
        for i in range(workers):
            command = [server, SERVER_ADDRESS, str(PORT + i), READS_FIRST]
            stack.enter_context(hosts.serving(command, folder, pinned=False))
        plan = {
            "targets": [[SERVER_ADDRESS, PORT + i] for i in range(workers)],
            "connections": connections,
            "workers": workers,
            "connect": {"in_flight": 256},
            "message": {"bytes": 64, "answer_bytes": 64, "check": "echo"},
            "close": "rst",
            "phases": [
                {"phase": "connect"},
                {"phase": "hold", "duration_ns": 500_000_000},
                {"phase": "load", "messages": 1},
                {"phase": "drain"},
            ],
        }
        output = subprocess.check_output(
            [sys.executable, "-m", "lab.inside.fleet", "--plan", json.dumps(plan)],
            env={**os.environ, "LAB_OUT": name},
            cwd=ROOT,
            text=True,
        )
    result = json.loads(output.splitlines()[-1])
    took = {row["phase"]: (row["end_ns"] - row["begin_ns"]) / 1e9 for row in result["phases"]}
    return {
        "opened": result["opened"],
        "open_at_once": result["open_at_once"],
        "answered": result["answered"],
        "errors": result["errors"],
        "workers": workers,
        "connect_s": round(took["connect"], 2),
        "reach_s": REACH_S,
        "connects_per_s": round(result["opened"] / took["connect"]),
        "echo_each_s": round(took["load"], 2),
        "close_s": round(took["drain"], 2),
        "fleet_cpu_us_per_connect": round(sum(result["phases"][0]["cpu_ns"]) / 1e3 / max(result["opened"], 1), 1),
        "rss_peak_kib_per_worker": [worker["rss_peak_bytes"] // 1024 for worker in result["workers"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=100_000)
    given = parser.parse_args()
    inside_namespaces()
    figures = measure(given.connections)
    print(json.dumps({"benchmark": "connect rate of one fleet host", **figures, "machine": machine()}))
    if figures["errors"] or figures["open_at_once"] != given.connections:
        sys.exit(1)


if __name__ == "__main__":
    main()
