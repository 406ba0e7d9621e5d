"""What every program inside a host shares: the event lines, the ready mark, the barrier, the stop.

A program (server, fleet, capture sidecar, host keeper) talks to whoever started it in three ways only, so that the
same program works under Docker on another machine, under a namespace engine, and by hand in a terminal:

- **standard output** carries events, one JSON object a line: `{"event": "ready", "t_ns": 1700000000000000000, ...}`.
  `t_ns` is CLOCK_REALTIME. Text for people goes to standard error.
- **signals** come in: SIGUSR1 opens the next barrier, SIGTERM (or SIGINT) means stop: finish, write results, exit
  0; SIGUSR2 asks for a `usage` event.
- **files** in the folder `$LAB_OUT` are the results; `<program>.ready` there is the ready mark a health check wants.

Barriers: with `LAB_BARRIER=signal` a program waits at each barrier for one SIGUSR1; otherwise (by hand) it goes on at
once.

**What is imported here is paid in every host, before anything is ready.** An interpreter starts in some 28 million
instructions; `dataclasses` costs 79 million more, `typing` 48, `pathlib` 49, `json` 35, and `enum` alone 21, for which
it is enough to import `signal` or `socket`; `os`, with the abstract classes it brings, 6. So the programs that a host
needs always (this module, the keeper, the capture sidecar) use the C halves of those two and of `json`, this module and
the sidecar that of `os` too, and leave type names to the type checker. Servers and fleets show sockets and signals, and
take these two as they are, but nothing dearer: a server whose model needs no library starts in 35 ms of processor time
instead of 110.
"""

from __future__ import annotations

import posix
import resource
import select
import sys
import time
from _json import encode_basestring_ascii, make_encoder
from _signal import SIGINT, SIGTERM, SIGUSR1, SIGUSR2, set_wakeup_fd, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Event = dict[str, Any]


def _no_json(value: object) -> object:
    raise TypeError(f"no JSON for a {type(value).__name__}: {value!r}")


_encode = make_encoder(None, _no_json, encode_basestring_ascii, None, ":", ",", False, False, True)


def to_json(value: object) -> str:
    """The value as JSON on one line: what `json.dumps` gives, without its import."""
    return "".join(_encode(value, 0))


def _variable(name: str, default: str) -> str:
    """An environment variable as this process was given it."""
    return posix.environ.get(name.encode(), default.encode()).decode(errors="surrogateescape")


def out_folder() -> Path:
    """The folder for results: `$LAB_OUT`, or the current folder by hand."""
    from pathlib import Path

    return Path(_variable("LAB_OUT", "."))


def out_path(name: str) -> str:
    """Where the result file `name` belongs: in `$LAB_OUT`, or in the current folder by hand."""
    return f"{_variable('LAB_OUT', '.')}/{name}"


def emit(event: str, **fields: Any) -> None:
    """Write one event line to standard output, whole and at once (a pipe takes up to 4096 bytes atomically)."""
    line = to_json({"event": event, "t_ns": time.time_ns(), **fields}) + "\n"
    posix.write(sys.stdout.fileno(), line.encode())


def say(text: str) -> None:
    """Write a line for people to standard error."""
    posix.write(sys.stderr.fileno(), f"{text}\n".encode())


def ready(program: str, **fields: Any) -> None:
    """Declare that the program is armed: the event, and the mark a health check looks for."""
    open(out_path(f"{program}.ready"), "w").close()
    emit("ready", program=program, **fields)


def store_result(program: str, result: Event) -> None:
    """Store the program's result as `<program>.json` in the out folder, whole or not at all; a line a key."""
    partial = out_path(f"{program}.partial")
    with open(partial, "w") as file:
        file.write("{\n" + ",\n".join(f" {to_json(key)}: {to_json(value)}" for key, value in result.items()) + "\n}\n")
    posix.rename(partial, out_path(f"{program}.json"))


def write_result(program: str, result: Event) -> None:
    """Store the program's result as `<program>.json` in the out folder and emit it as the event `result`."""
    store_result(program, result)
    emit("result", program=program, **result)


def barriers_by_signal() -> bool:
    """Whether somebody opens this program's barriers; by hand nobody does, and they stand open."""
    return _variable("LAB_BARRIER", "") == "signal"


class Signals:
    """The stop and the barriers, usable from a blocking program and from an event loop alike.

    Handlers only count; `wakeup_fd` becomes readable whenever a signal arrived, so that a program may put it beside
    its sockets in any multiplexer. Create it once, in the main thread, before any worker is forked.
    """

    def __init__(self, *, on_stop: Callable[[], None] | None = None) -> None:
        self.stopping = False
        self.opened = 0
        """Openings so far, less those that were passed."""
        self._on_stop = on_stop
        self.on_usage: Callable[[], None] = tell_usage
        """What SIGUSR2 does."""
        self.wakeup_fd, self._wakeup_write = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal(SIGTERM, self._stop)
        signal(SIGINT, self._stop)
        signal(SIGUSR1, self._open)
        signal(SIGUSR2, self._usage)

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopping = True
        if self._on_stop is not None:
            self._on_stop()

    def _open(self, _signal: int, _frame: object) -> None:
        self.opened += 1

    def _usage(self, _signal: int, _frame: object) -> None:
        self.on_usage()

    def clear_wakeup(self) -> None:
        """Empty `wakeup_fd` after a multiplexer reported it."""
        try:
            while posix.read(self.wakeup_fd, 4096):
                pass
        except BlockingIOError:
            return

    def barrier_open(self) -> bool:
        """Pass the next barrier if it is open: True, and that opening is used up."""
        if not barriers_by_signal():
            return True
        if self.opened:
            self.opened -= 1
            return True
        return False

    def wait_barrier(self) -> bool:
        """Wait for the next barrier; False if the stop came first."""
        while not self.stopping:
            if self.barrier_open():
                return True
            self.wait()
        return False

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleep until a signal arrives, or `timeout_s` has passed."""
        if select.select([self.wakeup_fd], [], [], timeout_s)[0]:
            self.clear_wakeup()


def tell_usage() -> None:
    """Emit what this process has used so far."""
    emit("usage", **usage())


def raise_descriptor_limit() -> int:
    """Lift this process's soft descriptor limit to the hard one; returns it (RLIMIT_NOFILE)."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def join_crowd(processes: int) -> None:
    """Let this process, one of so many of its kind, wait for its turn when it wakes up, where processors are few.

    A process that wakes up normally interrupts the one that woke it. With a hundred of them on two processors nearly
    every message is a switch then; under SCHED_BATCH (sched(7)) one works off what it has, and what arrives for the
    others meanwhile waits together. Where the kernel refuses, all stays as it is.
    """
    if processes > 2 * len(posix.sched_getaffinity(0)):
        try:
            posix.sched_setscheduler(0, posix.SCHED_BATCH, posix.sched_param(0))
        except PermissionError:
            return


def open_descriptors(process: int | str) -> int:
    """How many descriptors a process has open. Raises OSError for one that has ended.

    Since Linux 6.2 the size of its folder tells; before, they are counted, which takes a microsecond each.
    """
    folder = f"/proc/{process}/fd"
    told = posix.stat(folder).st_size
    return told if told else len(posix.listdir(folder)) - (process == "self")


def usage() -> Event:
    """What this process and its ended children have used so far, from getrusage(2) and /proc/self.

    `rss_bytes` holds what is shared too: of a keeper or sidecar in a namespace most of it is its parent's.
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open("/proc/self/status") as file:
        status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return {
        "pid": posix.getpid(),
        "cpu_user_ns": round((own.ru_utime + children.ru_utime) * 1e9),
        "cpu_system_ns": round((own.ru_stime + children.ru_stime) * 1e9),
        "voluntary_switches": own.ru_nvcsw + children.ru_nvcsw,
        "involuntary_switches": own.ru_nivcsw + children.ru_nivcsw,
        "rss_bytes": int(status["VmRSS"].split()[0]) * 1024,
        "rss_peak_bytes": int(status["VmHWM"].split()[0]) * 1024,
        "threads": int(status["Threads"]),
        "descriptors": open_descriptors("self"),
    }
