"""What tests of the netns engine share: hosts by a line each, and what is heard of programs in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.engines import News
from lab.engines.netns import NetnsEngine
from lab.topology import Host, Interface, Network, Program, Topology

PROJECT = Path(__file__).parents[2]
WITHIN_S = 30.0


def host(name: str, *addresses: str, **fields: object) -> Host:
    """A host with one interface a network `net0`, `net1`, ..."""
    interfaces = tuple(
        Interface(name=f"eth{place}", network=f"net{place}", address=address, prefix=24)
        for place, address in enumerate(addresses)
    )
    return Host(name=name, interfaces=interfaces, **{"sysctls": {}, **fields})  # type: ignore[arg-type]


def run_of(folder: Path) -> str:
    """A run id of each test's own: what the guard of an earlier run still removes is not this run's."""
    return f"test-{folder.name}"


def bring_up(engine: NetnsEngine, folder: Path, *hosts: Host, mtu: int = 1500) -> list[str]:
    """Returns what the engine said."""
    networks = tuple(Network(name=f"net{i}", subnet=f"10.64.{i}.0/24", mtu=mtu) for i in range(2))
    said: list[str] = []
    topology = Topology(scenario="netns", networks=networks, hosts=hosts, programs=())
    engine.up(topology, run_id=run_of(folder), run_folder=folder, say=said.append)
    return said


def program(*arguments: str, host: str = "a", module: str = "lab.inside.diagnose", **fields: object) -> Program:
    return Program(host=host, role="server", module=module, arguments=arguments, **fields)  # type: ignore[arg-type]


def news_until_exit(engine: NetnsEngine) -> list[News]:
    heard: list[News] = []
    while not heard or heard[-1].exit_code is None:
        news = engine.next_news(WITHIN_S)
        assert news is not None, f"no end within {WITHIN_S:g} s after {heard[-3:]}"
        heard.append(news)
    return heard


def output(engine: NetnsEngine, capfd: pytest.CaptureFixture[str], host: str, *command: str) -> str:
    assert engine.execute(host, command, interactive=False) == 0
    return capfd.readouterr().out


def without_rights() -> list[str]:
    """The words before a command that take root's rights away, so that it must do as any user does."""
    return ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--no-new-privs"]


def said_without_rights(code: str, folder: Path) -> str:
    """What this Python code says when a user without any right runs it, given the folder and that of these tests."""
    done = subprocess.run(
        [*without_rights(), sys.executable, "-c", code, str(folder), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
