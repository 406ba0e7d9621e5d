"""Small things a program in a host can do to show that the host is as it should be; each is one command.

    python -m lab.inside.diagnose report --sysctl net.ipv4.tcp_fin_timeout
    python -m lab.inside.diagnose serve --port 7000
    python -m lab.inside.diagnose reach --host server --port 7000
    python -m lab.inside.diagnose send --host 10.64.0.3 --port 7001 --count 100
    python -m lab.inside.diagnose write --file a/b.bin --bytes 1000
    python -m lab.inside.diagnose end --code 3 --say "out of luck"
    python -m lab.inside.diagnose spend --seconds 0.5

Results are events (`lifecycle.py`); `serve` runs until SIGTERM, `send` waits at the start barrier.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from lab.inside import lifecycle

PROGRAM = "diagnose"
_ANSWER_WITHIN_S = 10.0
_WRITE_CHUNK = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    report_parser = commands.add_parser("report")
    report_parser.add_argument("--sysctl", action="append", default=[])
    serve_parser = commands.add_parser("serve")
    serve_parser.add_argument("--port", type=int, required=True)
    for name in ("reach", "send"):
        peer_parser = commands.add_parser(name)
        peer_parser.add_argument("--host", required=True)
        peer_parser.add_argument("--port", type=int, required=True)
        if name == "send":
            peer_parser.add_argument("--count", type=int, required=True)
    write_parser = commands.add_parser("write")
    write_parser.add_argument("--file", required=True)
    write_parser.add_argument("--bytes", type=int, required=True)
    end_parser = commands.add_parser("end")
    end_parser.add_argument("--code", type=int, required=True)
    end_parser.add_argument("--say", required=True)
    end_parser.add_argument("--leave-child", action="store_true", help="leave a child running, silent")
    spend_parser = commands.add_parser("spend")
    spend_parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()

    match arguments.command:
        case "report":
            report(arguments.sysctl)
        case "serve":
            serve(arguments.port)
        case "reach":
            reach(arguments.host, arguments.port)
        case "send":
            send(arguments.host, arguments.port, arguments.count)
        case "write":
            write(arguments.file, arguments.bytes)
        case "spend":
            spend(arguments.seconds)
        case "end":
            lifecycle.say(arguments.say)
            if arguments.leave_child:
                leave_child()
            return int(arguments.code)
    return 0


def report(sysctls: list[str]) -> None:
    """Emit who this process is and what it may do."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    lifecycle.emit(
        "report",
        hostname=socket.gethostname(),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE),
        capabilities={kind: int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Amb")},
        no_new_privs=status["NoNewPrivs"] == "1",
        interfaces=[name for _index, name in socket.if_nameindex()],
        environment=sorted(os.environ),
        sysctls={key: Path("/proc/sys", *key.split(".")).read_text().strip() for key in sysctls},
    )


def serve(port: int) -> None:
    """Answer every connection with the host's name, until told to stop."""
    signals = lifecycle.Signals()
    with socket.create_server(("", port)) as listener:
        listener.setblocking(False)
        lifecycle.ready(PROGRAM, port=port)
        while not signals.stopping:
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                signals.wait(0.01)
                continue
            with connection:
                connection.sendall(socket.gethostname().encode())


def reach(host: str, port: int) -> None:
    """Connect to a host by name or address; emit who answered from where."""
    with socket.create_connection((host, port), timeout=_ANSWER_WITHIN_S) as connection:
        answer = connection.makefile("rb").read().decode()
        lifecycle.emit("reached", host=host, address=connection.getpeername()[0], answer=answer)


def send(host: str, port: int, count: int) -> None:
    """Send numbered datagrams back to back once the barrier opens, to a port where nobody need listen."""
    signals = lifecycle.Signals()
    lifecycle.ready(PROGRAM)
    if not signals.wait_barrier():
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for number in range(count):  # unconnected: an ICMP "port unreachable" from the other side is no error here
            datagrams.sendto(struct.pack("!Q", number), (host, port))
    lifecycle.emit("sent", count=count)


def write(file: str, size: int) -> None:
    """Write a file of random bytes into the out folder; emit its digest."""
    path = lifecycle.out_folder() / file
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as target:
        for start in range(0, size, _WRITE_CHUNK):
            chunk = os.urandom(min(_WRITE_CHUNK, size - start))
            digest.update(chunk)
            target.write(chunk)
    lifecycle.emit("written", file=file, bytes=size, sha256=digest.hexdigest())


def leave_child() -> None:
    """Fork a child that waits for a signal, for ever; emit its process id."""
    pid = os.fork()
    if pid == 0:
        os.close(sys.stdout.fileno())
        os.close(sys.stderr.fileno())
        signal.pause()
        os._exit(0)
    lifecycle.emit("left", pid=pid)


def spend(seconds: float) -> None:
    """Spend processor time; emit how long that took by the clock, in ns."""
    start = time.monotonic_ns()
    while time.process_time() < seconds:
        pass
    lifecycle.emit("spent", cpu_ns=time.process_time_ns(), wall_ns=time.monotonic_ns() - start)


if __name__ == "__main__":
    sys.exit(main())
