"""How fast a capture is analysed, against `tshark -2` and `tcptrace`: one line of JSON with the ratios.

    python benchmarks/analysis.py [--connections 100000] [--repeats 3] [--large]

Makes a capture of 10 packets a connection (handshake with the options that Linux sends, a request and an answer of 64
bytes, orderly close; 1,000 connections in flight), then measures in turn, A B C, C B A: this analysis with every
column of every table in memory, the same written to Parquet, `tshark -2` printing stream and tcp.completeness,
`tcptrace -l -r`. Every measurement is a process of its own. For the tools its whole run is timed (they have no inside
to time; an empty capture's run is subtracted); for the analysis the work inside it, from file to tables: the first call
(`..._first_s`: it loads the compiled loops too), and the median of the WARM calls after it.

Before each measurement, of whatever, an analysis runs that is not counted. A virtual machine may take back memory that
its system has not used for some seconds, and give it again ten times slower than memory is cleared: without that run
the figures would be those of the machine's memory. `--large` adds memory at ten times the packets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
Bytes = npt.NDArray[np.uint8]

SYN, ACK, PUSH, FIN = 2, 16, 8, 1
# (from the client, flags, seq beyond the ISN, ack beyond the other ISN, payload) of a whole connection.
LADDER = (
    (True, SYN, 0, None, 0),
    (False, SYN | ACK, 0, 1, 0),
    (True, ACK, 1, 1, 0),
    (True, PUSH | ACK, 1, 1, 64),
    (False, ACK, 1, 65, 0),
    (False, PUSH | ACK, 1, 65, 64),
    (True, FIN | ACK, 65, 65, 0),
    (False, ACK, 65, 66, 0),
    (False, FIN | ACK, 65, 66, 0),
    (True, ACK, 66, 66, 0),
)
IN_FLIGHT = 1000
WIDEST = 16 + 14 + 20 + 40 + 64
SYN_OPTIONS = bytes.fromhex("020405b40402080a00000000000000000103 0307".replace(" ", ""))
OPTIONS = bytes.fromhex("0101080a0000000100000001")


def _be(values: npt.NDArray[np.int64], size: int) -> Bytes:
    """Numbers as big-endian bytes, one row each."""
    return values.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - size :]


def _packets(numbers: npt.NDArray[np.int64], step: int) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The `step`-th packet of each connection as a row of bytes (zeros behind its end), and the rows' lengths."""
    from_client, flags, seq, ack, payload = LADDER[step]
    options = SYN_OPTIONS if flags & SYN else OPTIONS
    header = 20 + len(options)
    length = 20 + header + payload
    rows = np.zeros((numbers.size, WIDEST), np.uint8)
    t_us = numbers * 10 + step * IN_FLIGHT
    rows[:, 0:4] = (1_700_000_000 + t_us // 1_000_000).astype("<u4").view(np.uint8).reshape(-1, 4)
    rows[:, 4:8] = (t_us % 1_000_000).astype("<u4").view(np.uint8).reshape(-1, 4)
    size = np.full(1, 14 + length, "<u4").view(np.uint8)
    rows[:, 8:12] = rows[:, 12:16] = size
    rows[:, 16 + 12] = 8
    ip, tcp = 30, 50
    rows[:, ip] = 0x45
    rows[:, ip + 2 : ip + 4] = [length >> 8, length & 255]
    rows[:, ip + 4 : ip + 6] = _be((numbers * 10 + step) & 0xFFFF, 2)
    rows[:, ip + 8], rows[:, ip + 9] = 64, 6
    client = _be(0x0A000001 + numbers // 28_000, 4)
    server = _be(np.full(numbers.size, 0x0A010001), 4)
    client_port, server_port = _be(32_768 + numbers % 28_000, 2), _be(np.full(numbers.size, 9000), 2)
    client_isn, server_isn = (numbers * 2_654_435_761) & 0xFFFFFFFF, (numbers * 40_503 + 7) & 0xFFFFFFFF
    mine, other = (client_isn, server_isn) if from_client else (server_isn, client_isn)
    rows[:, ip + 12 : ip + 16], rows[:, ip + 16 : ip + 20] = (client, server) if from_client else (server, client)
    ports = (client_port, server_port) if from_client else (server_port, client_port)
    rows[:, tcp : tcp + 2], rows[:, tcp + 2 : tcp + 4] = ports
    rows[:, tcp + 4 : tcp + 8] = _be((mine + seq) & 0xFFFFFFFF, 4)
    if ack is not None:
        rows[:, tcp + 8 : tcp + 12] = _be((other + ack) & 0xFFFFFFFF, 4)
    rows[:, tcp + 12], rows[:, tcp + 13] = header // 4 << 4, flags
    rows[:, tcp + 14 : tcp + 16] = [0x01, 0xF6]
    rows[:, tcp + 20 : tcp + header] = np.frombuffer(options, np.uint8)
    return rows, np.full(numbers.size, 16 + 14 + length)


def generate(path: Path, connections: int) -> int:
    """Write the capture; returns its packets. Packets stand in the order of time."""
    packets = 0
    with path.open("wb") as file:
        file.write(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
        steps, spread, block = len(LADDER), IN_FLIGHT // 10, 10_000
        # Step k of connection n happens in slot n + k * spread; slots are written in order.
        for first in range(0, connections + steps * spread, block):
            rows, order, lengths = [], [], []
            for step in range(steps):
                numbers = np.arange(first, first + block, dtype=np.int64) - step * spread
                numbers = numbers[(numbers >= 0) & (numbers < connections)]
                if not numbers.size:
                    continue
                made, sizes = _packets(numbers, step)
                rows.append(made)
                lengths.append(sizes)
                order.append((numbers + step * spread) * steps + step)
            if not rows:
                continue
            by_time = np.argsort(np.concatenate(order))
            table, sizes = np.concatenate(rows)[by_time], np.concatenate(lengths)[by_time]
            file.write(table[np.arange(WIDEST) < sizes[:, None]].tobytes())
            packets += sizes.size
    return packets


MEASURED = """
import json, resource, statistics, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, {root!r})
from lab.analysis import analyze, write_parquet
path, what = Path({path!r}), {what!r}
def run(folder):
    start = time.perf_counter()
    analysis = analyze([path])
    if what == "memory":
        tables = (analysis.packets(), analysis.connections, analysis.flows, analysis.captures)
        count = tables[1].height
    else:
        write_parquet(analysis, folder)
        count = sum(chunk.height for chunk in analysis.connection_chunks())
    return time.perf_counter() - start, analysis.packet_count, count
with tempfile.TemporaryDirectory() as folder:
    first, packets, connections = run(Path(folder))
    warm = [run(Path(folder))[0] for _ in range(0 if what == "large" else {warm})]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([first, statistics.median(warm or [first]), packets, connections, peak / 1024]))
"""
WARM = 5
"""Calls after the first whose median is taken."""
PROCESSES = 3
"""Processes a turn of the analysis, the median of which counts: what takes a fifth of a second meets a busy machine, or
does not, where half a minute meets its average."""


class Measured(NamedTuple):
    """One process' analysis of a capture."""

    first_s: float
    warm_s: float
    packets: int
    connections: int
    peak_mib: float
    """Most memory resident at once."""


def measure(path: Path, what: str) -> Measured:
    """Analyse in a fresh process."""
    code = MEASURED.format(root=str(ROOT), path=str(path), what=what, warm=WARM)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return Measured(*json.loads(done.stdout))


TOOLS = {
    "tshark": ["tshark", "-2", "-n", "-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness", "-r"],
    "tcptrace": ["tcptrace", "-l", "-r", "-n"],
}


def time_tool(name: str, path: Path) -> float:
    """Run a tool over a file, its output thrown away; returns seconds."""
    start = time.perf_counter()
    subprocess.run([*TOOLS[name], str(path)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def interval(values: list[float]) -> list[float]:
    """Smallest and largest, rounded: the interval of a few repeats."""
    return [round(min(values), 3), round(max(values), 3)]


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--connections", type=int, default=100_000)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--large", action="store_true", help="memory at ten times the packets")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        print(json.dumps(compare(Path(folder), options.connections, options.repeats, options.large)))


def compare(folder: Path, connections: int, repeats: int, large: bool) -> dict[str, object]:
    """Measure all, interleaved; returns what is printed."""
    capture, empty = folder / "capture.pcap", folder / "empty.pcap"
    packets = generate(capture, connections)
    generate(empty, 0)
    subjects = ["memory", "parquet", *(tool for tool in TOOLS if shutil.which(tool))]
    seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
    first: dict[str, list[float]] = {}
    for turn in range(repeats):
        for subject in subjects if turn % 2 == 0 else reversed(subjects):
            measure(capture, "memory")  # not counted, see above; the first also compiles
            if subject in TOOLS:
                start_up = time_tool(subject, empty) if subject == "tshark" else 0.0
                seconds[subject].append(time_tool(subject, capture) - start_up)
            else:
                runs = [measure(capture, subject) for _ in range(PROCESSES)]
                for got in runs:
                    if (got.packets, got.connections) != (packets, connections):
                        raise SystemExit(f"analysed {got}; made {packets} packets, {connections} connections")
                seconds[subject].append(statistics.median(got.warm_s for got in runs))
                first.setdefault(subject, []).append(statistics.median(got.first_s for got in runs))
    result: dict[str, object] = {
        "benchmark": "analysis",
        "packets": packets,
        "connections": connections,
        "repeats": repeats,
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.release()}, Python {platform.python_version()}",
    }
    medians = {subject: statistics.median(values) for subject, values in seconds.items()}
    for subject in subjects:
        result[f"{subject}_s"] = round(medians[subject], 3)
        result[f"{subject}_interval_s"] = interval(seconds[subject])
        result[f"{subject}_packets_per_s"] = round(packets / medians[subject])
        if subject in first:
            result[f"{subject}_first_s"] = round(statistics.median(first[subject]), 3)
    for tool in TOOLS:
        if tool in medians:
            ratios = [theirs / ours for theirs, ours in zip(seconds[tool], seconds["memory"], strict=True)]
            result[f"times_{tool}"] = round(medians[tool] / medians["memory"], 1)
            result[f"times_{tool}_interval"] = interval(ratios)
        else:
            result[f"times_{tool}"] = None  # not installed
    if large:
        big = folder / "large.pcap"
        large_packets = generate(big, connections * 10)
        got = measure(big, "large")
        result |= {
            "large_packets": got.packets,
            "large_s": round(got.first_s, 2),
            "large_peak_rss_mib": round(got.peak_mib),
            "large_ok": got.packets == large_packets,
        }
    return result


if __name__ == "__main__":
    main()
