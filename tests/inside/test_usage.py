"""What a process says it has used: descriptors and CPU time, its own and its children's."""

from __future__ import annotations

import os
import signal
import time

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


def test_the_cpu_time_of_a_living_child_counts_to_the_nanosecond() -> None:
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        end = time.process_time_ns() + 3_000_000  # less than a tick of /proc/PID/stat
        while time.process_time_ns() < end:
            pass
        os.write(told, b".")
        signal.pause()
        os._exit(0)
    try:
        os.read(ready, 1)
        alone, together = usage_with([]), usage_with([pid])
        assert together["cpu_total_ns"] - alone["cpu_total_ns"] >= 3_000_000
        assert (alone["processes"], together["processes"]) == (1, 2)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


def test_a_child_that_has_ended_is_no_error() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert usage_with([pid])["processes"] == 1
