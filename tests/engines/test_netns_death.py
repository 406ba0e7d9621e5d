"""Nothing outlives the lab: whatever is killed, and whenever, every process and namespace of the run goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lab.engines.netns import FOLDER_NAME, NetnsEngine
from lab.engines.netns_runs import find_guards
from lab.errors import MachineLacks, RunFailed
from lab.topology import Host, Interface, Network, Topology

PROJECT = Path(__file__).parents[2]
OWNER = PROJECT / "tests" / "contract" / "engine_owner.py"
REACHED_WITHIN_S = 30.0
GONE_WITHIN_S = 10.0
"""A bound for a busy machine; on a quiet one it takes a few hundredths."""
KINDS = ("net", "mnt", "uts", "ipc", "pid", "user")


@pytest.fixture(autouse=True, scope="module")
def _engine_works() -> None:
    try:
        NetnsEngine().facts()
    except MachineLacks as lack:
        pytest.skip(f"{lack}; hint: {lack.hint}")


def processes_of(folder: Path) -> set[int]:
    """The processes that have the run's folder in their command line or their environment."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                command, variables = (Path(entry.path, name).read_bytes() for name in ("cmdline", "environ"))
                if str(folder / FOLDER_NAME).encode() in command + variables:
                    found.add(int(entry.name))
    return found


def namespaces_of(pids: set[int]) -> set[str]:
    """The namespaces these processes are in and this process is not, e.g. `net:[4026532288]`."""
    found = set()
    for pid in pids:
        for kind in KINDS:
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found - {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}


def all_pids() -> set[int]:
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def wait_until(what: str, condition: Callable[[], object], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {within_s:g} s")
        time.sleep(0.001)


@contextmanager
def owner(folder: Path, phase: str) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a run in `folder` and goes on to `phase`."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(OWNER), "netns", str(folder), phase],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == phase:
            return
    pytest.fail(f"the owner ended before {phase}")


REACHED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "before up": ("facts", lambda _folder: True),
    "guard started": ("begin up", lambda folder: processes_of(folder)),
    "namespaces made": ("begin up", lambda folder: namespaces_of(processes_of(folder))),
    "hosts being made": ("begin up", lambda folder: (folder / FOLDER_NAME / "server" / "out").exists()),
    "keepers starting": ("begin up", lambda folder: len(processes_of(folder)) > 2),
    "up": ("up", lambda _folder: True),
    "programs started": ("start", lambda _folder: True),
    "collecting": ("collect", lambda folder: (folder / "collected").exists()),
}
"""Name -> the phase the owner tells, and what can be seen from outside at that moment."""


@pytest.mark.parametrize("moment", REACHED)
def test_a_lab_killed_at_any_phase_leaves_no_process_and_no_namespace(moment: str, tmp_path: Path) -> None:
    told, seen = REACHED[moment]
    folder = tmp_path / "run"
    with owner(folder, {"facts": "facts", "collect": "collect"}.get(told, "start")) as process:
        until(process, told)
        wait_until(moment, lambda: seen(folder), REACHED_WITHIN_S)
        namespaces = namespaces_of(processes_of(folder))
        assert namespaces or moment in ("before up", "guard started"), "else there is nothing to watch vanish"
        process.kill()
        wait_until(
            "everything gone",
            lambda: not processes_of(folder) and not namespaces & namespaces_of(all_pids()),
            GONE_WITHIN_S,
        )


@pytest.mark.parametrize("victim", ["guard", "holder"])
def test_a_run_whose_guard_or_holder_is_killed_ends_and_says_so(victim: str, tmp_path: Path) -> None:
    engine, pids = up(tmp_path)
    guard = next(guard.pid for guard in find_guards() if guard.folder == tmp_path / FOLDER_NAME)
    namespaces = namespaces_of(pids)
    (holder,) = (pid for pid in pids if pid != guard)
    os.kill({"guard": guard, "holder": holder}[victim], signal.SIGKILL)
    with pytest.raises(RunFailed, match="has ended"):
        engine.next_news(REACHED_WITHIN_S)
    with pytest.raises(RunFailed):
        engine.signal(["server/server"], "TERM")
    engine.down()
    wait_until("everything gone", lambda: not namespaces & namespaces_of(all_pids()), GONE_WITHIN_S)
    assert not (tmp_path / FOLDER_NAME).exists()


def test_down_has_removed_every_process_and_file_when_it_returns(tmp_path: Path) -> None:
    engine, pids = up(tmp_path)
    namespaces = namespaces_of(pids)
    engine.down()
    assert processes_of(tmp_path) == set()
    assert not namespaces & namespaces_of(all_pids())
    assert list(tmp_path.iterdir()) == []


def test_descriptors_of_the_lab_are_those_it_had_before(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    engine, _pids = up(tmp_path)
    engine.down()
    assert sorted(os.listdir("/proc/self/fd")) == before


def up(folder: Path) -> tuple[NetnsEngine, set[int]]:
    """A host without programs; returns the engine and the processes of the run."""
    engine = NetnsEngine()
    engine.up(
        Topology(
            scenario="death",
            networks=(Network(name="lan", subnet="10.64.0.0/24", mtu=1500),),
            hosts=(
                Host(
                    name="server",
                    interfaces=(Interface(name="eth0", network="lan", address="10.64.0.2", prefix=24),),
                    sysctls={},
                ),
            ),
            programs=(),
        ),
        run_id="death",
        run_folder=folder,
        say=lambda _line: None,
    )
    return engine, processes_of(folder)
