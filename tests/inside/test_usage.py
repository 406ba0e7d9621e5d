"""What a process says it has used: descriptors and CPU time, its own and its children's."""

from __future__ import annotations

import os
import subprocess
import sys

from lab.inside import lifecycle
from lab.inside.servers.children import usage_with


def test_descriptors_are_those_that_are_open() -> None:
    before = lifecycle.open_descriptors("self")
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
    try:
        assert lifecycle.open_descriptors("self") - before == 40
        assert lifecycle.open_descriptors(os.getpid()) == lifecycle.open_descriptors("self")
    finally:
        for descriptor in opened:
            os.close(descriptor)


BURN = """
import sys, time
end = time.process_time_ns() + 3_000_000  # less than a tick of /proc/PID/stat
while time.process_time_ns() < end:
    pass
print(time.process_time_ns(), flush=True)
sys.stdin.read()
"""


def test_the_cpu_time_of_a_living_child_counts_to_the_nanosecond() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        burnt_ns = int(child.stdout.readline())
        alone, together = usage_with([]), usage_with([child.pid])
        assert child.stdin is not None
        child.stdin.close()
    assert together["cpu_total_ns"] - alone["cpu_total_ns"] >= burnt_ns
    assert (alone["processes"], together["processes"]) == (1, 2)


def test_a_child_that_has_ended_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert usage_with([child.pid])["processes"] == 1
