"""The capture sidecar between two hosts, and its file read by Wireshark's tools: what its tests share."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_hosts import Host, Program

TRAFFIC = str(Path(__file__).with_name("traffic.py"))
PROJECT = Path(__file__).parents[2]

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("capinfos") is None, reason="tshark or capinfos is missing"
)


@contextlib.contextmanager
def capturing(host: Host, out: Path, *arguments: str, **environment: str) -> Iterator[Program]:
    program = Program(host, out, "lab.inside.capture", "--name", "host", *arguments, **environment)
    try:
        program.await_event("ready")
        yield program
    finally:
        program.close()


@contextlib.contextmanager
def echo_server(host: Host, port: int = 9000, address: str | None = None) -> Iterator[None]:
    with host.serving(sys.executable, TRAFFIC, "serve", address or host.address, str(port)):
        yield


def tool(*command: str) -> str:
    """Run a Wireshark tool; anything on standard error but its remark about root fails the test."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert complaints == []
    return done.stdout


def fields(capture: Path, *names: str) -> list[list[str]]:
    options = [option for name in names for option in ("-e", name)]
    return [line.split("\t") for line in tool("tshark", "-r", str(capture), "-T", "fields", *options).splitlines()]


SEND_FRAME = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
    sender.bind(("eth0", 0))
    sender.send(bytes.fromhex(sys.argv[1]))
"""
