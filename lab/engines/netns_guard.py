"""The guard: the process between the lab and the holder that makes sure nothing outlives the lab.

    lab ── guard ── holder (process 1 of a PID namespace) ── programs

A PID namespace ends with its process 1: the kernel kills everything in it, whatever it does and wherever it hid, and
with the last process go the network, mount and UTS namespaces and every interface in them. So one death must be
arranged, the holder's, and each way to it is closed:

- the lab ends or is killed: the guard, which does nothing but wait on the lab's pidfd, kills the holder;
- the guard is killed: the kernel kills the holder (PR_SET_PDEATHSIG);
- `down`: SIGTERM to the guard, which kills the holder and ends after it.

PR_SET_PDEATHSIG alone would not do: it follows the *thread* that started a process, and a thread of the lab may end
while the run goes on. `leave` (for `lab up`) is one byte on a pipe from the holder: from then on the guard no longer
watches the lab.

The guard's command line is the run's label: `leftovers` finds runs by it, without any state file.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
from pathlib import Path

from lab.engines import namespaces
from lab.engines.cgroups import remove_run, run_folders
from lab.engines.netns_channel import Channel
from lab.engines.netns_obstacles import Obstacle, enter_namespaces

DETACH = b"d"


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold one run of the netns engine; started by the lab.")
    parser.add_argument("--run", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--owner", required=True, help="process id and start time of the lab, PID:TICKS")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket to the lab")
    arguments = parser.parse_args()

    os.set_inheritable(arguments.control, False)  # no program of a host is to talk to the holder
    owner = os.pidfd_open(os.getppid())
    if os.getppid() != int(arguments.owner.partition(":")[0]):
        return 1  # the lab ended before its pidfd was taken; the pidfd may be somebody else's
    try:
        enter_namespaces()
    except Obstacle as obstacle:
        control = Channel(socket.socket(fileno=arguments.control))
        control.put({"obstacle": str(obstacle), "hint": obstacle.hint})
        return 3
    groups = run_folders(arguments.run)  # now: the holder will cover /proc with its own, where this process is not
    read_end, write_end = os.pipe()
    guard = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.close(owner)
        namespaces.die_with_parent(signal.SIGKILL)
        if _ended(guard):
            return 1  # it died before the kernel was told
        os.close(guard)
        from lab.engines.netns_holder import hold

        hold(arguments.control, detach=write_end)
        return 0
    os.close(write_end)
    os.close(arguments.control)
    return _watch(groups, child, owner, read_end)


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _watch(groups: tuple[Path, ...], child: int, owner: int, detach: int) -> int:
    """Wait for the first of: the holder ends, the lab ends, SIGTERM. The holder has ended on return."""
    wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_write)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    holder = os.pidfd_open(child)
    watched = [holder, owner, detach, wakeup_read]
    while True:
        ready = select.select(watched, [], [])[0]
        if holder in ready:
            break
        if detach in ready:
            watched.remove(detach)
            if os.read(detach, 1) == DETACH:
                watched.remove(owner)
                continue
        if owner in ready or wakeup_read in ready:
            os.kill(child, signal.SIGKILL)
            break
    # Process 1 is not reaped before everything else in its PID namespace is gone (pid_namespaces(7)).
    _pid, status = os.waitpid(child, 0)
    remove_run(groups)
    return 0 if os.WIFEXITED(status) else 1


if __name__ == "__main__":
    sys.exit(main())
