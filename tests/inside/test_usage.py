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


def test_two_processes_on_one_processor_wait_for_it_half_of_the_time() -> None:
    pipe, only = subprocess.PIPE, {min(os.sched_getaffinity(0))}
    long = BURN.replace("3_000_000", "60_000_000")
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {only})\n{long}"]
    children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        waited_ns = usage_with([child.pid for child in children])["run_delay_ns"] - usage_with([])["run_delay_ns"]
    finally:
        for child in children:
            child.communicate()
    assert waited_ns > 10_000_000, "each computed for 60 ms, and one at a time"


def test_a_child_that_has_ended_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert usage_with([child.pid])["processes"] == 1
