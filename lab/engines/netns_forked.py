"""Programs that a fork of the holder turns into, without exec: the host keeper and the capture sidecar.

Every host has them, and they do little: of what a sidecar takes to record ten thousand connections, two thirds were
exec, the interpreter's start and imports (20 ms of 36), which the holder has behind it. So the holder imports both
once, and its child, after the same steps as any program's (`netns_programs.py`), calls `main()`: 8 ms, and 2 for the
fork in the holder. Servers and fleets are started by exec: they are the subject, and their memory is to be their own.

What exec would have done is done here, or holds without it:

- descriptors: all but standard input, output and error are closed, also those without FD_CLOEXEC
- signals: SIGPIPE and SIGXFSZ are ignored, as by every interpreter; all else is at its default
- capabilities: capset(2) has set them; exec gives root of a user namespace its bounding set, which is the same
- environment: the variables are replaced: in Python, in the C library, in /proc
- command line and name: the words that would start the same program by exec, and its module (`shown_process.py`)
- memory: the child begins with the holder's, at the same addresses, and copies a page when either writes to it. So the
  resident memory of a program is some 30 MB, 20 of them shared. Nothing of the holder's is released or collected in a
  child (the stack below `main()` and gc.freeze() keep it): finalizers would close descriptors by numbers that are
  others' by then
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import posix
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from lab.engines.shown_process import show_as

MODULES = ("lab.inside.host", "lab.inside.capture")


@functools.cache
def main_of(module: str) -> Callable[[], int]:
    """Load one of MODULES, in the process that will fork."""
    main: Callable[[], int] = importlib.import_module(module).main
    return main


def fork_for(module: str) -> int:
    """Fork, to turn into one of MODULES; returns as os.fork does. A thread would be gone in the child with its locks
    held: there must be none.
    """
    main_of(module)
    assert threading.active_count() == 1, "only a process of one thread may fork a program"
    return os.fork()


def turn_into(
    module: str, command: Sequence[str], arguments: Sequence[str], variables: Mapping[str, str], failure: int
) -> NoReturn:
    """In the child: run the program. `command` is what is shown; `failure` is closed when nothing can fail any more.

    Raises whatever goes wrong before that.
    """
    main = main_of(module)
    gc.freeze()
    _close_all_but(failure)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    _replace_environment(variables)
    sys.argv = [str(sys.modules[module].__file__), *arguments]
    show_as(module.rpartition(".")[2], command, variables)
    os.close(failure)
    os._exit(_exit_code(main))


def _close_all_but(descriptor: int) -> None:
    """Close what is open beyond standard error, but for one."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, highest + 1)


def _replace_environment(variables: Mapping[str, str]) -> None:
    """Let `os.environ`, the C library's environment, and what `posix` found at the start be these."""
    found = {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
    os.environ.clear()
    os.environ.update(variables)
    posix.environ.clear()
    posix.environ.update(found)


def _exit_code(main: Callable[[], int]) -> int:
    """Run a program to its end, which is told as the interpreter tells it."""
    try:
        return main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr, flush=True)
    except BaseException as error:  # noqa: BLE001  nothing is above: it is printed, and the process ends by it
        since_main = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(since_main), since_main)
        sys.stderr.flush()
    return 1
