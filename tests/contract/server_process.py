"""A server under test: a real process on a real socket of 127.0.0.1, and clients that talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab.inside.framing import Decoder, parse_framing
from lab.inside.servers import MODELS, Model

PATIENCE_S = 20.0
"""The bound of every wait: generous, since the machine may be busy; nothing is asserted about how long a wait took."""
CROWD = 128
"""Clients that use up a server's descriptors."""
PROJECT = Path(__file__).resolve().parent.parent.parent


def wait_until(condition: Callable[[], Any], awaited: str, seen: Callable[[], Any] = lambda: "") -> Any:
    """Wait for a condition, with a bound; gives what it gave."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {awaited}; last seen: {seen()}")


class ServerProcess:
    """One model, running."""

    def __init__(self, model: Model, folder: Path, *options: str) -> None:
        self.model = model
        self.framing = model.framing or "length"
        self.connected = 0
        self.broken_frames = 0
        """Frames that a test broke on purpose and that the server can tell from good ones."""
        self.starved = False
        """Whether a test took its descriptors away."""
        """Connections that clients of this object opened; the server must have accepted as many."""
        self.events: list[dict[str, Any]] = []
        # io_uring keeps the limit it met when accept was asked for; all others meet the one of the moment.
        limit = ["sh", "-c", f'ulimit -n {CROWD} && exec "$@"', "sh"] if model.name == "io-uring" else []
        command = [
            *limit,
            sys.executable,
            "-m",
            f"lab.inside.servers.{model.module}",
            "--bind",
            "127.0.0.1",
            "--port",
            "0",
        ]
        self.stderr_file = folder / "stderr"
        with self.stderr_file.open("w") as stderr:
            self.process = subprocess.Popen(
                [*command, *options],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "LAB_OUT": str(folder), "PYTHONPATH": str(PROJECT)},
                start_new_session=True,  # so that a child left behind can be found by its session
            )
        self.reader = threading.Thread(target=self._read_events)
        self.reader.start()
        self.ready = self.event("ready")
        host, port = self.ready["address"].rsplit(":", 1)
        self.address = (host, int(port))

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def event(self, name: str, where: Callable[[dict[str, Any]], bool] = lambda _event: True) -> dict[str, Any]:
        """Wait for an event."""

        def found() -> dict[str, Any] | None:
            event = next((event for event in self.events if event["event"] == name and where(event)), None)
            if event is None and self.process.poll() is not None and not self.reader.is_alive():
                raise AssertionError(f"{self.model.name} ended with {self.process.returncode}: {self.stderr()}")
            return event

        return wait_until(found, f"the event {name} of {self.model.name}", lambda: self.events[-3:])

    def stderr(self) -> str:
        return self.stderr_file.read_text()

    # --- what it uses ---

    def pids(self) -> list[int]:
        """The processes of its session: itself and its children, zombies too."""
        found = []
        session = str(self.process.pid)
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{name}/stat") as file:
                if file.read().rpartition(")")[2].split()[3] == session:
                    found.append(int(name))
        return found

    def cpu_ns(self) -> int:
        """Processor time of all its living processes (the first number of /proc/PID/task/TID/schedstat)."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    total += int(task.read_text().split()[0])
        return total

    def busy(self, while_s: float = 0.15) -> float:
        """Share of one core it uses over a while in which it has nothing to do."""
        cpu, start = self.cpu_ns(), time.monotonic_ns()
        time.sleep(while_s)  # the measurement itself, not a wait
        return (self.cpu_ns() - cpu) / (time.monotonic_ns() - start)

    def becomes_quiet(self) -> bool:
        """Whether it stops working while it has nothing to do; who spins never does."""
        return bool(wait_until(lambda: self.busy(0.1) < 0.1, "the server to be idle", self.busy))

    def usage(self) -> dict[str, Any]:
        """Ask for a usage event."""
        before = len(self.events)
        self.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: any(event["event"] == "usage" for event in self.events[before:]), "a usage event")
        return next(event for event in self.events[before:] if event["event"] == "usage")

    def descriptors(self) -> int:
        """Descriptors of the process that accepts."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @contextlib.contextmanager
    def out_of_descriptors(self, left: int = 0) -> Iterator[None]:
        """Let each of its processes open only so many descriptors more inside this block."""
        before = {}
        for pid in self.pids():
            used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
            lowest_free = next(number for number in range(len(used) + 1) if number not in used)
            before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free + left, before[pid][1]))
        try:
            yield
        finally:
            for pid, limit in before.items():
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)

    # --- clients and the end ---

    def client(self) -> Client:
        self.connected += 1
        return Client(self)

    def stop(self) -> dict[str, Any]:
        """Tell it to stop, and give its result once it has ended with 0 and left no process behind."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.stderr()
        self.reader.join(PATIENCE_S)
        wait_until(lambda: not self.pids(), "its children to end", self.pids)
        return self.event("result")

    def kill(self) -> None:
        """The end of a test, whatever happened in it."""
        for pid in {self.process.pid, *self.pids()} if self.process.poll() is None else self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Client:
    """One connection to a server, speaking its framing."""

    def __init__(self, server: ServerProcess) -> None:
        self.framing = parse_framing(server.framing, side="client")
        self.decoder: Decoder = self.framing.decoder()
        self.socket = socket.socket()  # not create_connection: asking a resolver each time adds up
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.arrived: list[bytes] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: bytes) -> None:
        self.socket.sendall(self.framing.encode(message))

    def receive(self, recv_size: int = 65536) -> bytes:
        """The next answer."""
        while not self.arrived:
            data = self.socket.recv(recv_size)
            assert data, "the server closed the connection before it answered"
            self.arrived += self.decoder.feed(data)
        return self.arrived.pop(0)

    def exchange(self, message: bytes) -> bytes:
        """Send and receive at the same time, so that a long message can blocks neither side."""
        sender = threading.Thread(target=self.send, args=(message,))
        sender.start()
        answer = self.receive()
        sender.join()
        return answer

    def rest(self) -> list[bytes]:
        """All answers up to the end of the stream (or its reset)."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                self.arrived += self.decoder.feed(data)
        arrived, self.arrived = self.arrived, []
        return arrived

    def reset(self) -> None:
        """Close with a RST (SO_LINGER with 0 seconds)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def silent_for(self, while_s: float) -> bool:
        """Whether nothing arrives for a while, not even the end."""
        self.socket.settimeout(while_s)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.socket.settimeout(PATIENCE_S)
        return False


def runnable(model: Model) -> str | None:
    """Why this machine cannot run the model, or None."""
    import importlib.util

    for package in model.requires:
        if not package.startswith("kernel:") and importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    if "kernel:io_uring" in model.requires:
        command = "from lab.inside.servers.io_uring_server import probe; probe()"
        probed = subprocess.run(
            [sys.executable, "-c", command], capture_output=True, text=True, cwd=PROJECT, check=False
        )
        if probed.returncode:
            return probed.stderr.strip()
    return None


TCP = [model for model in MODELS.values() if model.transport == "tcp"]
UDP = [model for model in MODELS.values() if model.transport == "udp"]
