"""How fast the epoll server and the fleet are beside their counterparts in C, on the same path.

    .venv/bin/python benchmarks/server_and_fleet.py [--blocks N] [--seconds S] [--python PATH]
                                                    [--only server|compiled-server|fleet]

Two network namespaces joined by a veth pair, made here and gone with this program (it starts itself again under
`unshare`; no root is needed). 64-byte echo over 100 connections, server and client each on a processor of its own:

    server:          lab.inside.servers.epoll_server against c/epoll_echo_server.c, both under c/epoll_client.c
    compiled-server: the same with lab.inside.servers.epoll_compiled_server, where machine code makes the system calls
    fleet:           lab.inside.fleet against c/epoll_client.c, both on c/epoll_echo_server.c

Each against two forms of it in C: `in-turn`, as such a loop is usually written (read and answer one connection, then
the next), and `reads-first`, the order of ours, which is quicker. The other side of a comparison is always the quick
form.

Repeats are interleaved A B B A, so that a machine that slows down meets both alike. Each block gives one ratio; the
median of them is quoted with its 95 % bootstrap interval. Many short blocks tell more than a few long ones: the pace of
a shared machine changes from second to second. Beside the rate stands the processor time for each answer:
on a machine that does other work too it tells the same with less noise. Prints one line of JSON for each comparison.

`--python` chooses the interpreter for ours; builds differ by several percent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SERVER_ADDRESS, CLIENT_ADDRESS, PORT = "10.77.0.2", "10.77.0.1", 9000
CONNECTIONS, MESSAGE_BYTES = 100, 64
IN_TURN, READS_FIRST = "in-turn", "reads-first"
SERVERS = {"server": "epoll_server", "compiled-server": "epoll_compiled_server"}
INSIDE = "WIRELAB_BENCHMARK_INSIDE"


class Measured(NamedTuple):
    """One measurement."""

    rate_per_s: float
    """Answers a second."""
    cpu_ns: float
    """Processor time of the measured program for each answer."""


class TwoHosts:
    """This namespace (the client's host) and another one (the server's), joined by a veth pair."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._enter = ["nsenter", "--target", str(self._holder.pid), "--net"]
        self._await_namespace()
        run = subprocess.check_call
        run(["ip", "link", "add", "client0", "type", "veth", "peer", "name", "server0"])
        run(["ip", "link", "set", "server0", "netns", str(self._holder.pid)])
        for enter, link, address in (([], "client0", CLIENT_ADDRESS), (self._enter, "server0", SERVER_ADDRESS)):
            run([*enter, "ip", "addr", "add", f"{address}/24", "dev", link])
            run([*enter, "ip", "link", "set", link, "up"])

    def _await_namespace(self) -> None:
        """Wait until the holder has left our namespace: unshare(1) does so just before it becomes `sleep`."""
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self._holder.pid}/ns/net") == own:
            if self._holder.poll() is not None:
                sys.exit("unshare: cannot make a network namespace here; unprivileged user namespaces are needed")

    def close(self) -> None:
        self._holder.terminate()
        self._holder.wait()

    @contextmanager
    def serving(self, command: list[str], folder: Path, *, pinned: bool = True) -> Iterator[int]:
        """Run a server in its host, on the last processor if `pinned`, while the block runs with its process id."""
        pin = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if pinned else []
        with subprocess.Popen(
            [*self._enter, *pin, *command],
            stdout=subprocess.PIPE,
            env={**os.environ, "LAB_OUT": str(folder)},
            cwd=ROOT,
        ) as server:
            assert server.stdout is not None
            line = server.stdout.readline()
            if b"ready" not in line:
                sys.exit(f"{command[0]}: not ready, said {line!r}")
            try:
                yield server.pid
            finally:
                server.kill()


def asking(command: list[str], folder: Path) -> str:
    """Run a client in this namespace, on the first processor; returns the last line of its output."""
    cpu = str(min(os.sched_getaffinity(0)))
    output = subprocess.check_output(
        ["taskset", "-c", cpu, *command], env={**os.environ, "LAB_OUT": str(folder)}, cwd=ROOT, text=True
    )
    return output.splitlines()[-1]


def cpu_ns(pid: int) -> int:
    """Time a process has spent on a processor (sched_schedstat, in nanoseconds)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def c_client(binaries: Path, folder: Path, seconds: float, order: str = READS_FIRST) -> dict[str, int]:
    """Ask with the client in C."""
    arguments = [SERVER_ADDRESS, PORT, CONNECTIONS, MESSAGE_BYTES, round(seconds * 1000), order]
    result: dict[str, int] = json.loads(asking([str(binaries / "epoll_client"), *map(str, arguments)], folder))
    if result["unanswered"]:
        sys.exit(f"epoll_client: {result['unanswered']} requests were never answered")
    return result


def compile_loops() -> None:
    """Have loops compiled, as a run of the lab does before it starts hosts."""
    subprocess.check_call([sys.executable, "-m", "lab.engines.machine_code"], cwd=ROOT)


def fleet(python: str, folder: Path, seconds: float) -> Measured:
    """Ask with the fleet."""
    plan = {
        "targets": [[SERVER_ADDRESS, PORT]],
        "connections": CONNECTIONS,
        "message": {"bytes": MESSAGE_BYTES, "answer_bytes": MESSAGE_BYTES, "check": "echo"},
        "latency_records": 10**8,
        "phases": [
            {"phase": "connect"},
            {"phase": "load", "model": "closed", "duration_ns": round(seconds * 1e9)},
            {"phase": "drain"},
        ],
    }
    result = json.loads(asking([python, "-m", "lab.inside.fleet", "--plan", json.dumps(plan)], folder))
    load = result["phases"][1]
    if result["errors"] or result["unanswered"] or result["wrong_answers"] or result["latency_records_not_kept"]:
        sys.exit(f"fleet: errors {result['errors']}, {result['unanswered']} requests were never answered")
    answers = load["counts"]["received"]
    return Measured(answers / (load["end_ns"] - load["begin_ns"]) * 1e9, sum(load["cpu_ns"]) / answers)


def interleaved(ours: Callable[[], Measured], theirs: Callable[[], Measured], blocks: int) -> dict[str, object]:
    """Measure A B B A, `blocks` times over; each block gives the ratios of ours to theirs."""
    rates, costs, all_ours, all_theirs = [], [], [], []
    for _ in range(blocks):
        a1, b1, b2, a2 = ours(), theirs(), theirs(), ours()
        rates.append((a1.rate_per_s + a2.rate_per_s) / (b1.rate_per_s + b2.rate_per_s))
        costs.append((b1.cpu_ns + b2.cpu_ns) / (a1.cpu_ns + a2.cpu_ns))
        all_ours += [a1, a2]
        all_theirs += [b1, b2]
    return {
        "ratio": round(statistics.median(rates), 3),
        "interval": bootstrap(rates),
        "ratio_per_cpu_second": round(statistics.median(costs), 3),
        "interval_per_cpu_second": bootstrap(costs),
        "ours_per_s": round(statistics.median(m.rate_per_s for m in all_ours)),
        "theirs_per_s": round(statistics.median(m.rate_per_s for m in all_theirs)),
        "ours_cpu_ns": round(statistics.median(m.cpu_ns for m in all_ours)),
        "theirs_cpu_ns": round(statistics.median(m.cpu_ns for m in all_theirs)),
    }


def bootstrap(values: list[float]) -> list[float]:
    """The 95 % interval of the median, by drawing the values again 2,000 times."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return [round(medians[50], 3), round(medians[1949], 3)]


def machine(python: str = sys.executable) -> dict[str, object]:
    """What the figures were taken on."""
    version = subprocess.check_output([python, "--version"], text=True).strip()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "kernel": platform.release(),
        "python": version,
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "processors": os.cpu_count(),
        "memory_gib": round(memory_kb / 2**20, 1),
        "load": round(os.getloadavg()[0], 2),
    }


def build(folder: Path) -> Path:
    """Compile the counterparts."""
    for name in ("epoll_echo_server", "epoll_client"):
        source = ROOT / "benchmarks" / "c" / f"{name}.c"
        subprocess.check_call([os.environ.get("CC", "cc"), "-O2", "-o", str(folder / name), str(source)])
    return folder


def inside_namespaces() -> None:
    """Start this program again in a user and a network namespace of its own, unless it is there already."""
    if INSIDE in os.environ:
        return
    for tool in ("unshare", "nsenter", "ip", "taskset", os.environ.get("CC", "cc")):
        if shutil.which(tool) is None:
            sys.exit(f"{tool}: not found; this benchmark needs it")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--net", sys.executable, *sys.argv])


def compare(only: str | None, blocks: int, seconds: float, python: str) -> None:
    hosts = TwoHosts()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            binaries = build(folder)
            compile_loops()

            def in_python(module: str) -> list[str]:
                listens = ["--bind", SERVER_ADDRESS, "--port", str(PORT), "--backlog", "1024"]
                return [python, "-m", f"lab.inside.servers.{module}", *listens, "--handler", "echo"]

            def in_c(order: str) -> list[str]:
                return [str(binaries / "epoll_echo_server"), SERVER_ADDRESS, str(PORT), order]

            def server_asked(server: list[str]) -> Measured:
                with hosts.serving(server, folder) as pid:
                    before = cpu_ns(pid)
                    result = c_client(binaries, folder, seconds)
                    cost = (cpu_ns(pid) - before) / result["answers"]
                    return Measured(result["answers"] / result["took_ns"] * 1e9, cost)

            def c_asks(order: str) -> Measured:
                with hosts.serving(in_c(READS_FIRST), folder):
                    result = c_client(binaries, folder, seconds, order)
                    rate = result["answers"] / result["took_ns"] * 1e9
                    return Measured(rate, result["cpu_ns"] / result["answers"])

            def fleet_asks() -> Measured:
                with hosts.serving(in_c(READS_FIRST), folder):
                    return fleet(python, folder, seconds)

            for order in (IN_TURN, READS_FIRST):
                comparisons: dict[str, tuple[Callable[[], Measured], Callable[[], Measured]]] = {
                    **{
                        what: (partial(server_asked, in_python(module)), partial(server_asked, in_c(order)))
                        for what, module in SERVERS.items()
                    },
                    "fleet": (fleet_asks, partial(c_asks, order)),
                }
                for what, (ours, theirs) in comparisons.items():
                    if only in (None, what):
                        line = {
                            "benchmark": f"{what} against C",
                            "order_in_c": order,
                            "reach": 0.9,
                            **interleaved(ours, theirs, blocks),
                            "connections": CONNECTIONS,
                            "message_bytes": MESSAGE_BYTES,
                            "seconds": seconds,
                            "machine": machine(python),
                        }
                        print(json.dumps(line), flush=True)
    finally:
        hosts.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=16, help="blocks of four measurements each")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one measurement")
    parser.add_argument("--only", choices=(*SERVERS, "fleet"), help="one comparison instead of all")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs our server and fleet")
    given = parser.parse_args()
    inside_namespaces()
    compare(given.only, given.blocks, given.seconds, given.python)


if __name__ == "__main__":
    main()
