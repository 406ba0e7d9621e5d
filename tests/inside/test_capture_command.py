"""The capture sidecar as a command: what it refuses, what it tells, what it may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from captures import PROJECT, TRAFFIC, capturing
from two_hosts import Host


def test_a_wrong_filter_ends_with_2_and_libpcaps_words(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    done = run_to_the_end(hosts[0], tmp_path, "--interface", "eth0", "--filter", "tcp prt 9000")
    assert done.returncode == 2
    assert "--filter 'tcp prt 9000'" in done.stderr
    assert "syntax error" in done.stderr
    assert done.stdout == ""


def test_an_unknown_interface_ends_with_2_and_names_those_there_are(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    done = run_to_the_end(hosts[0], tmp_path, "--interface", "eth9")
    assert done.returncode == 2
    assert "eth9" in done.stderr
    assert "eth0" in done.stderr


def test_the_recorder_gives_up_every_capability(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with capturing(hosts[0], tmp_path, "--interface", "eth0") as capture:
        status = Path(f"/proc/{capture.process.pid}/status").read_text()
        capture.stop()
    sets = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert {sets[name] for name in ("CapEff", "CapPrm", "CapInh")} == {"0" * 16}


def test_progress_tells_packets_and_drops_so_far(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = hosts
    with capturing(server, tmp_path, "--interface", "eth0", "--filter", "udp dst port 9010") as capture:
        client.run(sys.executable, TRAFFIC, "datagrams", server.address, "9010", "20")
        while (progress := capture.await_event("progress"))["packets"] < 20:
            assert progress["dropped"] == 0
        assert progress["packets"] == 20
        result = capture.stop()
    assert json.loads((tmp_path / "capture.json").read_text())["interfaces"] == result["interfaces"]


def run_to_the_end(host: Host, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "LAB_OUT": str(out)}
    return subprocess.run(
        host.command(sys.executable, "-m", "lab.inside.capture", *arguments),
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PROJECT,
        env=environment,
    )
