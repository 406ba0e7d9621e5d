"""Child processes of a server: forked, counted, stopped, reaped, and none left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time

from lab.inside import lifecycle
from lab.inside.native import Int, Library
from lab.inside.servers.counters import Board

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from lab.inside.servers.startup import Serve, Server

MOST_CHILDREN = 32768
"""Rows on the board: as many processes as Linux numbers by default (kernel.pid_max); unwritten rows cost no memory."""
STOPS = (signal.SIGTERM, signal.SIGINT)
STUCK_S = 3.0
"""Seconds after the end of the drain when a child that is still there is killed."""
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal a child gets when its parent dies, so that a parent killed with -9 leaves no child behind."""


class Children:
    """The children of one server process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._row_of: dict[int, int] = {}
        self._free_rows = list(range(MOST_CHILDREN - 1, -1, -1))
        self.parents_board: Board
        """In a child: where its counts go."""
        self.memory_at_stop: dict[str, int] = {}
        """Resident memory and descriptors of all processes when the stop arrived, before the children were gone."""

    @property
    def pids(self) -> list[int]:
        return list(self._row_of)

    def __len__(self) -> int:
        return len(self._row_of)

    def fork(self, work: Callable[[], None]) -> int:
        """Run `work` in a child that counts and stops like a server of its own; returns its process id.

        Raises:
            OSError: no more processes or memory (EAGAIN, ENOMEM).
        """
        row = self.take_row()
        parent = os.getpid()
        with self.stops_held():
            try:
                pid = os.fork()
            except OSError:
                self.give_row_back(row)
                raise
        if pid:
            self.adopt(pid, row)
            return pid
        status = 1
        try:
            assert self._server.tally.board is not None
            self.become_child(self._server.tally.board, row, parent)
            self.release_stops()
            work()
            status = 0
        except BaseException:  # noqa: BLE001  the child's outermost frame: told, and turned into its exit status
            import traceback  # here: no other way needs it, and it loads much

            traceback.print_exc()
        finally:
            self._server.leave()
            os._exit(status)  # never back into the parent's code above

    @contextlib.contextmanager
    def stops_held(self) -> Iterator[None]:
        """Fork inside: a stop that comes before the child has its own handlers waits until `release_stops` there."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            yield
        finally:
            if os.getpid() == parent:
                self.release_stops()

    def release_stops(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def take_row(self) -> int:
        """A free row of the board, which is made with the first child."""
        tally = self._server.tally
        if tally.board is None:
            tally.board = Board(MOST_CHILDREN)
        row = self._free_rows.pop()
        tally.rows_in_use.add(row)
        return row

    def give_row_back(self, row: int) -> None:
        """A child that was to use the row could not be started, or has ended."""
        self._server.tally.retire_row(row)
        self._free_rows.append(row)

    def adopt(self, pid: int, row: int) -> None:
        """Keep a child that was started by other means than `fork`."""
        self._row_of[pid] = row

    def become_child(self, board: Board, row: int, parent: int) -> None:
        """Count on the parent's board, stop by one's own handlers, and never outlive the parent."""
        die_with(parent, signal.SIGTERM)
        self.parents_board = board
        self._row_of = {}
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._server.start_counting(row=row)

    def reap(self) -> dict[int, int]:
        """Collect the children that have ended: process id to exit status (negative: killed by that signal).

        Never from a signal handler: counts are moved here, and a handler may run in the middle of that.
        """
        ended: dict[int, int] = {}
        while self._row_of:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
            self.forget(pid)
        return ended

    def forget(self, pid: int) -> None:
        """Keep what an ended child counted and give its row to the next."""
        row = self._row_of.pop(pid, None)
        if row is not None:
            self.give_row_back(row)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Pass the stop on to every child."""
        self.remember_memory()
        for pid in self.pids:
            os.kill(pid, number)  # it cannot have become somebody else: only `reap` frees its number

    def remember_memory(self) -> None:
        """Keep what all processes hold now, for the result: the children are about to end."""
        self.memory_at_stop = {key: value for key, value in usage_with(self.pids).items() if key in MEMORY_KEYS}

    def wait_until_gone(self) -> None:
        """Wait for all children to end; who is not gone well after the drain was over is killed."""
        while self._row_of:
            self.reap()
            # The children keep the same deadline by themselves; this is for one that is stuck.
            if time.monotonic() > self._server.stop_arrived_s + self._server.settings.drain_s + STUCK_S:
                for pid in self.pids:
                    os.kill(pid, signal.SIGKILL)
            if self._row_of:
                self._server.signals.wait(0.05)  # SIGCHLD ends the wait early

    def work_in_parallel(self, serve: Serve, listeners: list[socket.socket]) -> bool:
        """Serve in one child a listener until the stop; returns whether a child failed.

        One child that dies early ends them all: connections queued on its socket would wait for ever.
        """
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)  # it need only end a wait
        server = self._server

        def work(mine: socket.socket) -> Callable[[], None]:
            def in_child() -> None:
                lifecycle.join_crowd(len(listeners))
                for listener in listeners:
                    if listener is not mine:
                        listener.close()
                serve(server, mine)

            return in_child

        for listener in listeners:
            self.fork(work(listener))
        for listener in dict.fromkeys(listeners):
            listener.close()  # the children hold them: an accept queue here would never be emptied
        failed = False
        while self._row_of and not server.stopping:
            server.signals.wait()
            for pid, status in self.reap().items():
                if not server.stopping:
                    lifecycle.say(f"worker {pid} ended early with status {status}; the server stops")
                    failed, server.signals.stopping = True, True
                    server.stop_arrived_s = time.monotonic()
        self.stop()
        self.wait_until_gone()
        return failed


def die_with(parent: int, number: int) -> None:
    """Let the kernel send this process a signal when its parent dies. Raises SystemExit where it has died already."""
    Library(None).function("prctl", Int, Int)(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise SystemExit


MEMORY_KEYS = ("pss_bytes", "rss_bytes", "rss_peak_bytes", "threads", "descriptors")


def usage_with(pids: list[int]) -> dict[str, Any]:
    """`lifecycle.usage` of this process and its living children together, from /proc/PID; `processes` counts them."""
    whole = lifecycle.usage()
    whole["processes"] = 1
    # Resident memory counts a page that is shared by N processes N times; the proportional set size counts 1/N of it.
    whole["pss_bytes"] = _pss_bytes("self")
    whole["cpu_total_ns"] = _cpu_total_ns(pids)
    whole["run_delay_ns"] = sum(map(_run_delay_ns, [os.getpid(), *pids]))
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    for pid in pids:
        try:
            # Fields 14 and 15 of proc_pid_stat(5), counted from behind the name, which may itself hold blanks.
            fields = _read(pid, "stat").rpartition(")")[2].split()
            status = dict(line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line)
            whole["descriptors"] += lifecycle.open_descriptors(pid)
            whole["pss_bytes"] += _pss_bytes(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended; what it used comes with getrusage(RUSAGE_CHILDREN) once it is reaped
        if "VmRSS" not in status:
            continue  # a zombie
        whole["cpu_user_ns"] += int(fields[11]) * tick_ns
        whole["cpu_system_ns"] += int(fields[12]) * tick_ns
        whole["voluntary_switches"] += int(status["voluntary_ctxt_switches"])
        whole["involuntary_switches"] += int(status["nonvoluntary_ctxt_switches"])
        whole["rss_bytes"] += int(status["VmRSS"].split()[0]) * 1024
        whole["rss_peak_bytes"] += int(status["VmHWM"].split()[0]) * 1024
        whole["threads"] += int(status["Threads"])
        whole["processes"] += 1
    return whole


def _cpu_total_ns(pids: list[int]) -> int:
    """CPU time of this process, its ended and its living children: to the nanosecond, where /proc/PID/stat has ticks
    of 10 ms."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time_ns() + round((ended.ru_utime + ended.ru_stime) * 1e9)
    for pid in pids:
        # The process's own clock, as clock_getcpuclockid(3) numbers it: the complement of its id, then CPUCLOCK_SCHED.
        with contextlib.suppress(OSError):  # it has just ended
            total += time.clock_gettime_ns(~pid << 3 | 2)
    return total


def _run_delay_ns(pid: int) -> int:
    """Time that the living threads of a process were ready to run and had no processor (Documentation/scheduler/
    sched-stats.rst: the second number of schedstat); 0 where the kernel does not tell, or the process has ended."""
    delay = 0
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    for thread in threads:
        with contextlib.suppress(OSError):
            delay += int(_read(pid, f"task/{thread}/schedstat").split()[1])
    return delay


def _pss_bytes(pid: int | str) -> int:
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(pid: int | str, name: str) -> str:
    """A file of /proc/PID. Raises FileNotFoundError or ProcessLookupError for a process that has ended."""
    with open(f"/proc/{pid}/{name}") as file:
        return file.read()
