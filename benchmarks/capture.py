"""The capture sidecar against tcpdump and against scapy's AsyncSniffer, during ten thousand echo connections.

    .venv/bin/python benchmarks/capture.py [--connections 10000] [--repeats 3]

As root, since tcpdump insists on changing its user, which a user namespace refuses. Each repeat makes two hosts
(network namespaces joined by veth), starts one recorder on the server's interface, runs the connections, sends 500
datagrams and stops the recorder at once. Repeats are interleaved, the order turned round every time. Prints one line
of JSON: packets on the wire by the kernel's counters, packets in the file, the last 500, processor time of the
recorder's process from its start to its end, and its ratio to tcpdump's with the smallest and largest seen.

The sidecar is started in two ways. `sidecar`: as engine netns does, by the engine's own functions, out of a process
that has loaded what the holder of a run has. Counted is the sidecar from its fork to its end, and what its start costs
the holder (`starting`). Not counted is what the holder does once a run, whatever is captured: to start itself, and to
load the modules of keeper and sidecar. `sidecar_by_exec`: as containers do, `python -m lab.inside.capture` out of a
virtual environment; counted is all, from exec on. Where a sidecar leaves blocks (no machine code for this processor),
their conversion to pcapng counts too, which is compiled code in a process that has it loaded (in a run: the one that
analyses next).

How to read it. tcpdump spends some 0.35 us a packet, all of it while the traffic runs. The sidecar spends little
then (`ratio_while_recording` sets that part alone against tcpdump); the rest is arming: the fork or the interpreter
and its imports, the ring, the filter. tcpdump on its part loses what stands in its last block when it is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scapy.utils import RawPcapReader

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from lab.analysis.ring_blocks import left_here, make_capture  # noqa: E402 - the project need not be installed
from lab.engines.machine_code import ensure_machine_code  # noqa: E402
from lab.inside.counters import parse_snmp  # noqa: E402

SERVER, CLIENT, PORT = "10.77.0.1", "10.77.0.2", 9000
FILTER = f"tcp port {PORT} or udp port {PORT}"
SNAPLEN = 128
TAIL = 500
LOAD = f"""
import os, select, socket, sys
def serve():
    listener = socket.create_server(("{SERVER}", {PORT}), backlog=4096)
    listener.setblocking(False)
    waiting = select.epoll()
    waiting.register(listener, select.EPOLLIN)
    print("up", flush=True)
    while True:
        for descriptor, _events in waiting.poll():
            if descriptor == listener.fileno():
                try:
                    while True:
                        waiting.register(listener.accept()[0].detach(), select.EPOLLIN)
                except BlockingIOError:
                    continue
            elif data := os.read(descriptor, 4096):
                os.write(descriptor, data)
            else:
                os.close(descriptor)
def connect(number, in_flight=256):
    waiting, asked, left, begun = select.epoll(), {{}}, number, 0
    while left:
        while begun < number and len(asked) < in_flight:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("{SERVER}", {PORT}))
            descriptor = connection.detach()
            asked[descriptor] = False
            waiting.register(descriptor, select.EPOLLOUT)
            begun += 1
        for descriptor, _events in waiting.poll():
            if not asked[descriptor]:
                os.write(descriptor, bytes(64))
                asked[descriptor] = True
                waiting.modify(descriptor, select.EPOLLIN)
            else:
                os.read(descriptor, 4096)
                os.close(descriptor)
                del asked[descriptor]
                left -= 1
def tail():
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range({TAIL}):
        sender.sendto(b"tail" + i.to_bytes(4, "big"), ("{SERVER}", {PORT}))
if sys.argv[1] == "serve":
    serve()
connect(int(sys.argv[2]))
print("done", flush=True)
sys.stdin.readline()
tail()
"""

SNIFFER = f"""
import signal, sys
from scapy.sendrecv import AsyncSniffer
from scapy.utils import wrpcap
import scapy.layers.inet
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sniffer = AsyncSniffer(iface="eth0", filter={FILTER!r}, started_callback=lambda: print("up", flush=True))
sniffer.start()
signal.sigwait([signal.SIGINT])
wrpcap(sys.argv[1], sniffer.stop())
"""

HOLDER = """
import json, os, resource, sys
from pathlib import Path
from lab.engines import netns_holder, netns_links
from lab.engines.netns_forked import main_of
from lab.engines.netns_hosts import HostNamespaces
from lab.engines.netns_programs import Order, start_all
MODULE = "lab.inside.capture"
pid, out, *arguments = sys.argv[1:]
places = {kind: os.open(f"/proc/{pid}/ns/{file}", os.O_RDONLY)
          for kind, file in (("network", "net"), ("uts", "uts"), ("mount", "mnt"))}
host = HostNamespaces(name="server", out=Path(out), home=Path(out), **places)
order = Order(name="server/capture", host=host, module=MODULE, arguments=tuple(arguments), capabilities=("NET_RAW",),
              nofile=None, group=None)
main_of(MODULE)
def milliseconds(used):
    return (used.ru_utime + used.ru_stime) * 1e3
before = milliseconds(resource.getrusage(resource.RUSAGE_SELF))
(sidecar,) = start_all([order])
said = sidecar.streams[0].descriptor
os.set_blocking(said, True)
os.read(said, 4096)
starting = milliseconds(resource.getrusage(resource.RUSAGE_SELF)) - before
print(sidecar.pid, flush=True)
while os.read(said, 65536):
    pass
_pid, status, used = os.wait4(sidecar.pid, 0)
print(json.dumps({"starting_ms": starting, "cpu_ms": milliseconds(used) + starting}))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("run it as root: tcpdump insists on changing its user, which a user namespace refuses")
    if not ensure_machine_code(lambda line: print(line, file=sys.stderr)):
        print("without machine code: packets are kept as blocks, and converted", file=sys.stderr)
    runs: dict[str, list[dict[str, Any]]] = {"sidecar": [], "tcpdump": [], "sidecar_by_exec": [], "scapy": []}
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"LAB_OUT": folder, "LAB_BARRIER": "signal", "PYTHONPATH": str(PROJECT)}
        for recorder in ("sidecar", "sidecar_by_exec", "scapy"):  # leaves the bytecode, and loads the conversion
            one_run(recorder, 10, Path(folder), environment)
        for repeat in range(options.repeats):
            for recorder in list(runs)[:: -1 if repeat % 2 else 1]:
                runs[recorder].append(one_run(recorder, options.connections, Path(folder), environment))
    tcpdump = [run["cpu_ms"] for run in runs["tcpdump"]]
    ratios = {
        recorder: spread([run["cpu_ms"] / theirs for run, theirs in zip(runs[recorder], tcpdump, strict=True)])
        for recorder in ("sidecar", "sidecar_by_exec")
    }
    while_recording = [
        run["cpu_parts_ms"]["recording"] / theirs for run, theirs in zip(runs["sidecar"], tcpdump, strict=True)
    ]
    print(
        json.dumps(
            {
                "benchmark": "capture",
                "connections": options.connections,
                "machine": f"{platform.release()} {platform.machine()}, {os.cpu_count()} processors",
                "python": platform.python_version(),
                "cpu_ratio_to_tcpdump": ratios["sidecar"],
                "cpu_ratio_to_tcpdump_by_exec": ratios["sidecar_by_exec"],
                "ratio_while_recording": spread(while_recording),
                **{recorder: summary(of) for recorder, of in runs.items()},
            }
        )
    )


def spread(values: list[float]) -> dict[str, float]:
    low, middle, high = min(values), statistics.median(values), max(values)
    return {"median": round(middle, 3), "min": round(low, 3), "max": round(high, 3)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    parts = [run["cpu_parts_ms"] for run in runs if "cpu_parts_ms" in run]
    return {
        "cpu_ms": spread([run["cpu_ms"] for run in runs]),
        **({"cpu_parts_ms": {k: round(statistics.median(p[k] for p in parts), 1) for k in parts[0]}} if parts else {}),
        "on_the_wire": [run["on_the_wire"] for run in runs],
        "in_the_file": [run["in_the_file"] for run in runs],
        "lost_percent": spread([100 - 100 * run["in_the_file"] / run["on_the_wire"] for run in runs]),
        "tail_of_500": [run["tail"] for run in runs],
    }


def one_run(recorder: str, connections: int, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Two fresh hosts, one recorder, the traffic, the stop; what was on the wire and what came into the file."""
    hold = ["sh", "-c", "echo up; read ended"]
    (server, _), (client, _) = start(["unshare", "-n", *hold]), start(["unshare", "-n", *hold])
    at_server, at_client = (["nsenter", "-n", "-t", str(host.pid)] for host in (server, client))
    try:
        run(at_server, f"ip link add eth0 type veth peer name eth0 netns {client.pid}")
        for host, address in ((at_server, SERVER), (at_client, CLIENT)):
            run(host, f"ip address add {address}/24 dev eth0")
            run(host, "ip link set eth0 up")
        return traffic(recorder, connections, folder, environment, (at_server, at_client), server.pid)
    finally:
        client.communicate()
        server.communicate()


def traffic(
    recorder: str, connections: int, folder: Path, environment: dict[str, str], hosts: tuple[list[str], ...], pid: int
) -> dict[str, Any]:
    at_server, at_client = hosts
    python, is_sidecar = sys.executable, recorder.startswith("sidecar")
    file = folder / ("capture.pcapng" if is_sidecar else f"{recorder}.pcap")
    arguments = ("--interface", "eth0", "--filter", FILTER, "--snaplen", str(SNAPLEN))
    command = {
        "sidecar": [python, "-P", "-s", "-c", HOLDER, str(pid), str(folder), *arguments],
        "sidecar_by_exec": [*at_server, python, "-m", "lab.inside.capture", *arguments],
        "tcpdump": [
            *(*at_server, "tcpdump", "-Z", "root", "-i", "eth0", "-s", str(SNAPLEN)),
            *("-w", str(file), *FILTER.split()),
        ],
        "scapy": [*at_server, python, "-c", SNIFFER, str(file)],
    }[recorder]
    echo, _up = start([*at_server, python, "-c", LOAD, "serve"])
    before = segments(pid)
    recording, first_line = start(command, environment)
    load, _done = start([*at_client, python, "-c", LOAD, "connect", str(connections)])
    load.communicate(b"now\n")
    recorder_pid = int(first_line) if recorder == "sidecar" else recording.pid
    os.kill(recorder_pid, signal.SIGTERM if is_sidecar else signal.SIGINT)
    assert recording.stdout is not None
    said = recording.stdout.read()  # to its end, so that the recorder never waits for a reader
    on_the_wire = segments(pid) - before + TAIL
    _pid, status, used = os.wait4(recording.pid, 0)
    recording.returncode = os.waitstatus_to_exitcode(status)
    if recording.returncode != 0:
        raise SystemExit(f"{recorder} ended with {recording.returncode}: {said.decode()}")
    echo.kill()
    echo.communicate()
    cpu_ms = (used.ru_utime + used.ru_stime) * 1e3
    parts_ms = {}
    if recorder == "sidecar":
        told = json.loads(said)
        cpu_ms, parts_ms["starting"] = told["cpu_ms"], told["starting_ms"]
    if is_sidecar:
        before_ns = time.process_time_ns()
        if left_here(folder):
            make_capture(folder, file)
        parts_ms |= {part: ns / 1e6 for part, ns in json.loads((folder / "capture.json").read_text())["cpu_ns"].items()}
        parts_ms["converting"] = (time.process_time_ns() - before_ns) / 1e6
        cpu_ms += parts_ms["converting"]
    with RawPcapReader(str(file)) as packets:
        payloads = [packet[0] for packet in packets]
    return {
        **({"cpu_parts_ms": parts_ms} if parts_ms else {}),
        "cpu_ms": cpu_ms,
        "on_the_wire": on_the_wire,
        "in_the_file": len(payloads),
        "tail": sum(b"tail" in payload[42:46] for payload in payloads),
    }


def start(command: list[str], environment: dict[str, str] | None = None) -> tuple[subprocess.Popen[bytes], bytes]:
    """Start a program and wait for its first line, by which each of them says that it is there; both are returned."""
    program = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if "tcpdump" in command else None,
        env=environment,
        cwd=PROJECT,
        bufsize=0,
    )
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        raise SystemExit(f"{command}: ended at once with {program.wait()}")
    return program, line


def run(host: list[str], line: str) -> None:
    subprocess.run([*host, *line.split()], check=True)


def segments(pid: int) -> int:
    """TCP segments that the stack of this process has sent and received (lab/inside/counters.py says why so)."""
    counted = parse_snmp(Path(f"/proc/{pid}/net/snmp").read_text())
    return counted["Tcp.InSegs"] + counted["Tcp.OutSegs"] + counted["Tcp.RetransSegs"]


if __name__ == "__main__":
    main()
