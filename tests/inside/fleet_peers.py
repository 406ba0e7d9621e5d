"""The other end for the fleet's tests: servers on 127.0.0.1 that behave, well or badly, in one stated way."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60
"""No fleet run here takes longer; one that does is stuck."""

Behaviour = Callable[["Peer", socket.socket, bytes], None]


class Peer:
    """A server in a thread of its own: one epoll, `behave` called with whatever one recv brought. It counts."""

    def __init__(
        self,
        behave: Behaviour,
        *,
        ports: int = 1,
        greet: Callable[[Peer, socket.socket], None] | None = None,
        keeps_open: bool = False,
    ) -> None:
        self.behave = behave
        self.keeps_open = keeps_open
        """True: a FIN is not answered with a FIN."""
        self.greet = greet
        self.accepted = self.open = self.peak = self.fins = self.resets = self.received = 0
        self.unpause = threading.Event()
        """For behaviours that wait: set when the test (or the end of it) says so."""
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(ports)]
        self.targets = [list(listener.getsockname()) for listener in self._listeners]
        self._connections: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Peer:
        for listener in self._listeners:
            listener.setblocking(False)
            self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(self._stop_read, select.EPOLLIN)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.unpause.set()
        os.write(self._stop_write, b"x")
        self._thread.join(BOUND_S)
        for end in (*self._listeners, *self._connections.values(), self._epoll):
            end.close()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def await_open(self, count: int) -> None:
        """Wait until the server has this many connections open: it may lag behind the fleet."""
        until = time.monotonic() + BOUND_S
        while self.open != count:
            assert time.monotonic() < until, f"{self.open} connections are still open, {count} awaited"
            os.sched_yield()

    def leave_all(self) -> None:
        """Have the server send FIN on every connection, and return when it has."""
        os.write(self._stop_write, b"l")
        self.await_open(0)

    def _serve(self) -> None:
        listeners = {listener.fileno(): listener for listener in self._listeners}
        while True:
            for fd, _events in self._epoll.poll():
                if fd == self._stop_read:
                    if os.read(fd, 1) == b"x":
                        return
                    for connection in list(self._connections.values()):
                        self.close(connection)
                if fd in listeners:
                    self._accept(listeners[fd])
                elif fd in self._connections:
                    self._read(self._connections[fd])

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _address = listener.accept()
                connection.setblocking(False)
                self._connections[connection.fileno()] = connection
                self._epoll.register(connection, select.EPOLLIN)
                self.accepted += 1
                self.open += 1
                self.peak = max(self.peak, self.open)
                if self.greet is not None:
                    self.greet(self, connection)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            self.resets += 1
            self.close(connection)
            return
        self.received += len(data)
        if data:
            self.behave(self, connection, data)
        else:
            self.fins += 1
            if self.keeps_open:
                self._epoll.unregister(connection)
            else:
                self.close(connection)

    def close(self, connection: socket.socket) -> None:
        """Close one connection from this side."""
        self.open -= 1
        del self._connections[connection.fileno()]
        connection.close()

    def reset(self, connection: socket.socket) -> None:
        """Abort one connection from this side."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(connection)


def upper(_peer: Peer, connection: socket.socket, data: bytes) -> None:
    connection.sendall(data.upper())


def echo(_peer: Peer, connection: socket.socket, data: bytes) -> None:
    connection.setblocking(True)
    connection.sendall(data)
    connection.setblocking(False)


@dataclass
class Finished:
    """What a fleet run left behind."""

    code: int
    stderr: str
    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "fleet.json").read_text())

    def logs(self) -> list[Path]:
        return sorted(self.folder.glob("latency-*.bin"))


@contextmanager
def started(
    plan: dict[str, Any] | str, folder: Path, *, barrier: bool = False, descriptors: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a fleet host as its users do; killed at the end of the block if it still runs."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    environment = {**os.environ, "LAB_OUT": str(folder)} | ({"LAB_BARRIER": "signal"} if barrier else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.inside.fleet", "--plan", plan if isinstance(plan, str) else json.dumps(plan)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finish(process: subprocess.Popen[str], folder: Path) -> Finished:
    """Wait for a fleet host's end."""
    output, errors = process.communicate(timeout=BOUND_S)
    return Finished(process.returncode, errors, folder, [json.loads(line) for line in output.splitlines()])


def run_fleet(plan: dict[str, Any], folder: Path, *, descriptors: int | None = None) -> Finished:
    """Run a fleet host from beginning to end."""
    with started(plan, folder, descriptors=descriptors) as process:
        return finish(process, folder)


def next_event(process: subprocess.Popen[str], event: str, **fields: Any) -> dict[str, Any]:
    """Read on until an event with these fields comes."""
    assert process.stdout is not None
    for line in process.stdout:
        given = json.loads(line)
        if given["event"] == event and all(given.get(key) == value for key, value in fields.items()):
            return given
    raise AssertionError(f"the fleet ended before the event {event} with {fields} came")


def pass_barrier(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGUSR1)


def plan_for(peer: Peer | list[list[Any]], **changes: Any) -> dict[str, Any]:
    """Make a plan of 20 connections that connect, ask once and close; `changes` replace its keys."""
    targets = peer.targets if isinstance(peer, Peer) else peer
    plan = {
        "name": "client-1",
        "targets": targets,
        "connections": 20,
        "message": {"bytes": 64, "answer_bytes": 64, "check": "upper"},
        "phases": [{"phase": "connect"}, {"phase": "load", "messages": 1}, {"phase": "drain"}],
    }
    return plan | changes
