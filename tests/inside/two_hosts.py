"""Two hosts joined by a veth pair, made of namespaces as an ordinary user may make them.

One user namespace holds both network namespaces; each lives as long as a holder process that reads from a pipe of this
process, so nothing is left behind whatever happens to the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
_PROJECT = Path(__file__).parents[2]
_HOLD = ("sh", "-c", "echo up; read ended")


class Host:
    """A network namespace by its holder."""

    def __init__(self, address: str, command: Sequence[str]) -> None:
        self.address = address
        self._holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "up\n":
            assert self._holder.stderr is not None
            reason = self._holder.communicate()[1].strip()
            pytest.skip(f"user namespaces are not allowed here: {reason}")
        self.pid = self._holder.pid

    def command(self, *arguments: str) -> list[str]:
        return ["nsenter", "--preserve-credentials", "-U", "-n", "-t", str(self.pid), *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command in the host to its end; its standard output."""
        return subprocess.run(self.command(*arguments), check=True, capture_output=True, text=True, timeout=60).stdout

    def shell(self, line: str) -> str:
        """Like `run`, of a command line without anything to quote."""
        return self.run(*line.split())

    def python(self, code: str, *arguments: str) -> str:
        """Run Python code in the host to its end; its standard output."""
        return self.run(sys.executable, "-c", code, *arguments)

    @contextlib.contextmanager
    def background(self, code: str, *arguments: str) -> Iterator[None]:
        """Run Python code in the host, from when it has been executed until the block ends."""
        waiting = f"{code}\nimport sys; print('up', flush=True); sys.stdin.read()"
        with self.serving(sys.executable, "-c", waiting, *arguments):
            yield

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator[None]:
        """Run a program in the host that says `up` when it is there, until the block ends: then its input does."""
        command = self.command(*arguments)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stdout.readline() == "up\n"
            yield
            program.stdin.close()

    def counters_text(self, name: str) -> str:
        """A file of this host's /proc/net."""
        return Path(f"/proc/{self.pid}/net/{name}").read_text()

    def close(self) -> None:
        self._holder.communicate()


class Program:
    """A program of lab.inside running in a host: its events, its stop, its results."""

    def __init__(self, host: Host, out: Path, module: str, *arguments: str, **environment: str) -> None:
        out.mkdir(exist_ok=True)
        self.out = out
        self.process = subprocess.Popen(
            host.command(sys.executable, "-m", module, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_PROJECT,
            env={**os.environ, "LAB_OUT": str(out), **environment},
        )

    def await_event(self, name: str) -> dict[str, Any]:
        """The next event of that name; what comes before it is skipped."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        assert self.process.stderr is not None
        raise AssertionError(f"ended without the event {name}: {self.process.stderr.read().decode()}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> dict[str, Any]:
        """SIGTERM; the result, once the program has ended with exit code 0."""
        self.signal(signal.SIGTERM)
        result = self.await_event("result")
        assert self.process.wait(timeout=30) == 0
        self.close()
        return result

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """A server and a client host, offloads as the kernel has them, eth0 and lo up in both."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"the command {tool} is missing")
    with contextlib.ExitStack() as opened:
        server = Host(SERVER, ["unshare", "-U", "-r", "-n", *_HOLD])
        opened.callback(server.close)
        inside = ["nsenter", "--preserve-credentials", "-U", "-t", str(server.pid)]
        client = Host(CLIENT, [*inside, "unshare", "-n", *_HOLD])
        opened.callback(client.close)
        server.shell(f"ip link add eth0 type veth peer name eth0 netns {client.pid}")
        for host in (server, client):
            host.shell(f"ip address add {host.address}/24 dev eth0")
            host.shell("ip link set lo up")
            host.shell("ip link set eth0 up")
        await_condition(lambda: "LOWER_UP" in client.shell("ip link show eth0"), "client's eth0 to have a carrier")
        yield server, client


def await_condition(holds: Any, awaited: str, bound_s: float = 10.0) -> None:
    """Wait until `holds()`.

    Raises: AssertionError after `bound_s`, naming what was awaited.
    """
    deadline = time.monotonic() + bound_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {bound_s} s for {awaited}"
        time.sleep(0.005)
