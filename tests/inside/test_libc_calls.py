"""The counter of system calls, held against strace, and under threads, forks and ctypes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.inside.libc_calls import count_calls

PROJECT = Path(__file__).parents[2]
BEGIN = """
import ctypes, json, os, select, socket, sys, threading
from lab.inside.libc_calls import count_calls
counter = count_calls()
if counter is None:
    print(json.dumps(None)); raise SystemExit
a, b = socket.socketpair()
before = counter.counts()
def end():
    print(json.dumps({n: c - before.get(n, 0) for n, c in counter.counts().items()}))
"""
TALK = """
def talk(times):
    for _ in range(times):
        a.send(b"x"); b.recv(1)
"""


def counted(code: str, *, under: tuple[str, ...] = ()) -> dict[str, int]:
    """Run code after BEGIN in an interpreter of its own; return the calls it counted."""
    command = [*under, sys.executable, "-c", BEGIN + TALK + code + "\nend()"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    counts = json.loads(done.stdout)
    if counts is None:
        pytest.skip("no call counter for this processor")
    return {str(name): int(count) for name, count in counts.items()}


def test_each_call_is_counted_under_the_name_of_its_system_call() -> None:
    counts = counted("talk(50)\npoller = select.epoll(); poller.register(b, 1); poller.poll(0); os.read(0, 0)")
    assert {name: counts.get(name) for name in ("sendto", "recvfrom", "epoll_ctl", "epoll_wait", "read")} == {
        "sendto": 50,
        "recvfrom": 50,
        "epoll_ctl": 1,
        "epoll_wait": 1,
        "read": 1,
    }


def test_threads_and_forked_children_count_exactly() -> None:
    code = """
threads = [threading.Thread(target=lambda: [os.write(1, b"") for _ in range(2000)]) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
pid = os.fork()
if not pid:
    for _ in range(100): os.write(1, b"")
    os._exit(0)
os.waitpid(pid, 0)
"""
    assert counted(code)["write"] == 4 * 2000 + 100


def test_functions_that_ctypes_finds_count_too() -> None:
    code = "libc = ctypes.CDLL(None); [libc.send(a.fileno(), b'x', 1, 0) for _ in range(9)]; libc.strlen(b'x')"
    assert counted(code)["sendto"] == 9


def test_modules_that_are_imported_later_count_too() -> None:
    code = (
        "import mmap, _posixsubprocess, _multiprocessing, array\nimport subprocess\nsubprocess.run(['true'])\ntalk(3)"
    )
    counts = counted(code)
    assert counts["sendto"] == 3
    assert counts.get("fork", 0) + counts.get("vfork", 0) == 1, "of _posixsubprocess, which was loaded after"


def test_a_child_that_was_executed_afresh_counts_into_its_parents() -> None:
    child = (
        "import os; from lab.inside.libc_calls import count_calls; count_calls(); [os.write(1, b'') for _ in range(9)]"
    )
    code = f"pid = os.posix_spawn(sys.executable, [sys.executable, '-c', {child!r}], os.environ); os.waitpid(pid, 0)"
    assert counted(code)["write"] >= 9


def test_strace_counts_the_same(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "strace.txt"
    names = ("sendto", "recvfrom", "epoll_wait", "epoll_ctl", "accept4")
    try:
        ours = counted(
            "talk(200)\np = select.epoll(); p.register(b, 1); [p.poll(0) for _ in range(30)]",
            under=("strace", "-f", "-o", str(log), "-e", "trace=" + ",".join(names)),
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"strace may not trace here: {error.stderr.strip()[:200]}")
    calls = [line.partition(" ")[2].strip().partition("(")[0] for line in log.read_text().splitlines()]
    assert {name: ours.get(name, 0) for name in names} == {name: calls.count(name) for name in names}


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_COUNT_CALLS", "off")
    assert count_calls() is None
