from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.engines import child

WITHIN_S = 20.0


def gone(pid: int) -> bool:
    """Wait until a process has ended (a zombie has); False if it still runs after the bound."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        threading.Event().wait(0.02)
    return False


def test_output_and_exit_code_come_back() -> None:
    ended = child.run(["sh", "-c", "echo out; echo err >&2; exit 7"], timeout_s=WITHIN_S)
    assert (ended.exit_code, ended.output, ended.timed_out) == (7, "out\nerr\n", False)
    assert ended.last_lines(1) == "err"


def test_a_command_that_takes_too_long_is_stopped_and_what_it_said_is_kept(tmp_path: Path) -> None:
    ended = child.run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo begun; exec sleep 60"], timeout_s=1.0)
    assert ended.timed_out
    assert ended.output == "begun\n"
    assert gone(int((tmp_path / "pid").read_text()))


WAITER = "from lab.engines import child; child.run(['sh', '-c', 'echo $$ > {0}; exec sleep 60'], timeout_s=60)"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_command_ends_with_the_lab(tmp_path: Path, how: signal.Signals) -> None:
    if how is signal.SIGKILL and not child.bound_to_parent("KILL"):
        pytest.skip("setpriv is missing")
    mark = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", WAITER.format(mark)], stderr=subprocess.DEVNULL, env=environment
    ) as lab:
        deadline = time.monotonic() + WITHIN_S
        while not (mark.exists() and mark.read_text().strip()):
            assert time.monotonic() < deadline, "the command did not start"
            threading.Event().wait(0.02)
        lab.send_signal(how)
    assert gone(int(mark.read_text()))


def test_a_command_begun_early_waits_for_its_text() -> None:
    begun = child.Begun(["sh", "-c", "echo ready; cat"])
    ended = begun.end(timeout_s=WITHIN_S, text="what it was waiting for")
    assert (ended.exit_code, ended.output) == (0, "ready\nwhat it was waiting for")
    begun.stop()  # one that has ended is left alone


def test_a_command_begun_and_not_wanted_any_more_is_stopped(tmp_path: Path) -> None:
    begun = child.Begun(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec cat"])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        threading.Event().wait(0.01)
    begun.stop()
    assert gone(int((tmp_path / "pid").read_text()))
