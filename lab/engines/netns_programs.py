"""Programs in hosts: started by the holder, heard line by line, reaped.

A child passes from the holder into its host between fork and exec: namespaces, limits, descriptors, capabilities, in
this order, since each step needs rights that a later one gives up. The environment is made, not inherited: nothing of
the user's shell (PYTHONPATH, proxies, locale) reaches a program. What every host has (keeper, capture sidecar) turns
into its program without exec (`netns_forked.py`).
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import lab
from lab.engines import namespaces as ns
from lab.engines import netns_forked as forked
from lab.engines.cgroups import Group
from lab.engines.netns_hosts import HostNamespaces

_INSTALLED = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
MODULE_PATH = ":".join([str(Path(lab.__file__).parent.parent), *_INSTALLED])
"""Where programs find the lab's modules and the installed packages."""
_READ_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20  # Linux lets anybody have so much (fs.pipe-max-size); a burst of lines does not stop a program
COMMAND_NOT_FOUND = 127
COMMAND_NOT_EXECUTABLE = 126


class StartFailed(Exception):
    """A program could not be started; `str()` says in which host and why."""


def environment(host: HostNamespaces) -> dict[str, str]:
    """All that a program in a host finds in its environment."""
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(host.home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": MODULE_PATH,
        "LAB_OUT": str(host.out),
        "LAB_HOST": host.name,
    }


@dataclass(kw_only=True)
class Stream:
    """The reading end of a program's standard output or error, cut into lines."""

    descriptor: int
    kind: str
    """`out` or `err`."""
    _rest: bytearray = field(default_factory=bytearray)

    def read(self) -> tuple[list[str], bool]:
        """Return the lines that are there now (the last one perhaps unfinished, once the end came), and whether the
        end came.
        """
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return [], False
        self._rest += data
        *lines, rest = bytes(self._rest).split(b"\n")
        if not data and rest:
            lines, rest = [*lines, rest], b""
        self._rest = bytearray(rest)
        return [line.decode(errors="replace") for line in lines], not data

    def unfinished(self) -> list[str]:
        """A last line without its end, if there is one."""
        return [self._rest.decode(errors="replace")] if self._rest else []


@dataclass(kw_only=True)
class Started:
    """A program that runs."""

    name: str
    host: str
    pid: int
    streams: list[Stream]
    """Those not yet at their end."""
    group: Group | None
    """What holds its CPU and memory limits; removed once it has ended."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A program to start."""

    name: str
    host: HostNamespaces
    module: str
    arguments: tuple[str, ...]
    capabilities: tuple[str, ...]
    nofile: int | None
    group: Group | None
    """What holds its CPU and memory limits."""


def python_command(module: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """The lab's own interpreter, with neither the working directory (-P) nor the user's packages (-s) on its path.

    Programs in hosts do without looking through the site packages (-S): those are on the path, and what an installer
    leaves there to be run at every start is not for them. The holder, which tells them that path, looks.
    """
    site = ("-S",) if module.startswith("lab.inside.") else ()
    return (sys.executable, "-P", "-s", *site, "-m", module, *arguments)


def start_all(orders: Sequence[Order]) -> list[Started]:
    """Start programs side by side; return when each runs its own code. Raises StartFailed, with none left running."""
    started: list[tuple[Started, int]] = []
    for order in orders:
        out_read, out_write = _pipe()
        err_read, err_write = _pipe()
        failure_read, failure_write = os.pipe()
        pid = forked.fork_for(order.module) if order.module in forked.MODULES else os.fork()
        if pid == 0:
            _become(order, out_write, err_write, failure_write)
        for descriptor in (out_write, err_write, failure_write):
            os.close(descriptor)
        streams = [Stream(descriptor=out_read, kind="out"), Stream(descriptor=err_read, kind="err")]
        program = Started(name=order.name, host=order.host.name, pid=pid, streams=streams, group=order.group)
        started.append((program, failure_read))
    failures = []
    for program, failure_read in started:
        with open(failure_read, "rb") as failure:  # ends at exec, or where there is none: then it is closed
            text = failure.read().decode(errors="replace")
        if text:
            failures.append(f"{program.name}: {text}")
    if failures:
        for program, _descriptor in started:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            os.waitpid(program.pid, 0)
            for stream in program.streams:
                os.close(stream.descriptor)
            if program.group is not None:
                program.group.remove()
        raise StartFailed("; ".join(failures))
    return [program for program, _descriptor in started]


def _pipe() -> tuple[int, int]:
    """A pipe whose reading end never blocks, roomy where the user's share of pipe memory allows it."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with suppress(PermissionError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_end, write_end


def _become(order: Order, out: int, err: int, failure: int) -> None:
    """In the child: turn into the program. Never returns."""
    try:
        os.setsid()
        if order.group is not None:
            order.group.join()
        order.host.enter()
        os.chdir(order.host.out)
        _limit_descriptors(order.nofile)
        silence = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((silence, out, err)):
            os.dup2(descriptor, number)
        _reset_signals()
        _require(order.capabilities)
        ns.keep_only_capabilities(order.capabilities)
        variables = {**environment(order.host), "LAB_BARRIER": "signal"}
        command = python_command(order.module, order.arguments)
        if order.module in forked.MODULES:
            forked.turn_into(order.module, command, order.arguments, variables, failure)
        os.execve(command[0], command, variables)
    except BaseException as error:  # noqa: BLE001  whatever it is, it goes to the parent: nobody else hears this child
        os.write(failure, str(error).encode() or repr(error).encode())
    finally:
        os._exit(COMMAND_NOT_EXECUTABLE)


def _limit_descriptors(nofile: int | None) -> None:
    if nofile is None:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
    except (ValueError, OSError) as error:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise StartFailed(f"{nofile} descriptors a process (RLIMIT_NOFILE) are above the hard limit {hard}") from error


def _require(capabilities: Sequence[str]) -> None:
    lacking = sorted(set(capabilities) - ns.effective_capabilities())
    if lacking:
        raise StartFailed(f"needs the capabilities {', '.join(lacking)}, which this user cannot give")


def _reset_signals() -> None:
    """Undo what the interpreter and the holder have set: ignored signals stay ignored across exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def start_command(
    host: HostNamespaces, command: Sequence[str], descriptors: Sequence[int], *, terminal: str | None
) -> int:
    """Start a command for the user on the given standard input, output and error; return its pid.

    It keeps every capability of the run's namespaces, for tcpdump, ip and tc. `terminal`: the value of TERM when the
    descriptors are a terminal, which then becomes the command's controlling terminal; None for anything else.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        host.enter()
        os.chdir(host.out)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        variables = environment(host)
        if terminal is not None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            variables["TERM"] = terminal
        _reset_signals()
        os.execvpe(command[0], list(command), variables)
    except OSError as error:
        os.write(2, f"lab: {host.name}: {command[0]}: {error.strerror}\n".encode())
        os._exit(COMMAND_NOT_FOUND if isinstance(error, FileNotFoundError) else COMMAND_NOT_EXECUTABLE)
    finally:
        os._exit(COMMAND_NOT_EXECUTABLE)


def exit_code(status: int) -> int:
    """A wait status as shells tell it: the exit code, or 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
