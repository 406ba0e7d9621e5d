"""The netns engine: hosts out of Linux namespaces of this machine, without Docker and without root.

The lab's side. It starts a guard (`netns_guard`), which starts the holder (`netns_holder`): that one makes the hosts
(`netns_hosts`, `netns_links`), runs programs in them (`netns_programs`) and answers over a Unix socket
(`netns_channel`). What this process holds is that socket and the guard's pidfd; whatever happens to this process, the
guard ends the run.

Files: `<run folder>/.netns/<host>/out` is $LAB_OUT of a host's programs, on the run folder's own file system, so that
`collect` need not copy what is final. `down` removes `.netns`; after a crash it stays, as evidence.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.engines import Leftover, News, Say
from lab.engines.labels import KEPT_MARK
from lab.engines.machine_code import ensure_machine_code
from lab.engines.netns_channel import Channel, Message
from lab.engines.netns_facts import probe_facts
from lab.engines.netns_files import collect_files
from lab.engines.netns_holder import SOCKET_NAME
from lab.engines.netns_libraries import library_versions
from lab.engines.netns_programs import MODULE_PATH, python_command
from lab.engines.netns_runs import GUARD_MODULE, Guard, end_guard, find_guards, guard_arguments, stop
from lab.engines.netns_terminal import pseudo_terminal, relay
from lab.errors import MachineLacks, RunFailed, TeardownIncomplete
from lab.topology import Facts, Program, Topology

FOLDER_NAME = ".netns"
_ANSWER_WITHIN_S = 60.0
_END_WITHIN_S = 5.0


class NetnsEngine:
    """One run out of namespaces. Use it from one thread."""

    name = "netns"

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._guard: int | None = None
        """The guard's pidfd, while there is a run."""
        self._folder: Path | None = None
        self._topology: Topology | None = None
        self._facts: Facts | None = None
        self._unread: deque[Message] = deque()
        self._exit_codes: dict[int, int] = {}
        """Of commands that have ended, until `execute` returns them."""
        self._requests = 0
        self._running: set[str] = set()

    # ---- before hosts exist

    def facts(self) -> Facts:
        if self._facts is None:  # asked by whoever chooses an engine, and again by the planner
            self._facts = probe_facts()
        return self._facts

    def prepare(self, topology: Topology, say: Say) -> dict[str, str]:
        """Programs run with the lab's own interpreter. Raises MachineLacks when it lacks a library of theirs."""
        ensure_machine_code(say)
        python = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
        return {"python": python, **library_versions(topology)}

    def up(self, topology: Topology, *, run_id: str, run_folder: Path, say: Say) -> None:
        self._topology = topology
        folder = run_folder.resolve() / FOLDER_NAME
        if folder.exists():
            raise RunFailed(
                f"{run_folder}: a run is up there already, or was when it was killed", hint="use another folder"
            )
        folder.mkdir(parents=True)
        self._folder = folder
        try:
            self._start_guard(run_id)
            notes = self._ask("build", topology=topology.to_json(), folder=str(self._folder), run=run_id)
            self._ask("subscribe")
            for note in notes:
                say(f"netns: {note}")
            self.start(topology.of_role("host"))
        except (RunFailed, MachineLacks):
            self.down()
            raise

    def _start_guard(self, run_id: str) -> None:
        assert self._folder is not None
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        theirs.set_inheritable(True)
        log = str(self._folder / "holder.log")
        command = python_command(GUARD_MODULE, guard_arguments(run_id, self._folder, theirs.fileno()))
        with theirs:
            pid = os.posix_spawn(
                command[0],
                command,
                {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": MODULE_PATH},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD],
            )
        self._guard = os.pidfd_open(pid)

    # ---- programs

    def start(self, programs: Sequence[Program]) -> None:
        if programs:
            self._ask("start", programs=[asdict(program) for program in programs])
            self._running |= {program.name for program in programs}

    def next_news(self, timeout_s: float) -> News | None:
        end = time.monotonic() + timeout_s
        while not self._unread:
            left = end - time.monotonic()
            if left < 0 or not self._connected().wait(left):
                return None
            self._read()
        message = self._unread.popleft()
        program: str = message["news"]
        if "exit" in message:
            self._running.discard(program)
            return News(program=program, exit_code=message["exit"])
        line: str = message["line"]
        event = _event(line) if message["stream"] == "out" else None
        return News(program=program, log=line) if event is None else News(program=program, event=event)

    def signal(self, programs: Sequence[str], name: str) -> None:
        self._ask("signal", programs=list(programs), signal=name)

    def collect(self, host: str, folder: Path) -> None:
        assert self._folder is not None, "up or attach comes first"
        # A keeper that has given its result writes no more; one that has not is no program whose files grow large.
        busy = any(name.partition("/")[0] == host for name in self._running if not name.endswith("/host"))
        collect_files(self._folder / host / "out", folder, final=not busy)

    # ---- commands of the user

    def execute(self, host: str, command: Sequence[str], *, interactive: bool) -> int:
        if self._topology is None or host not in {h.name for h in self._topology.hosts}:
            known = ", ".join(h.name for h in self._topology.hosts) if self._topology else "none"
            raise RunFailed(f"netns: no host of that name, got {host}; the run has {known}")
        sys.stdout.flush()
        if interactive and os.isatty(0) and os.isatty(1):
            with pseudo_terminal() as (ours, theirs):
                try:
                    pid = self._send_command(host, command, (theirs,) * 3, terminal=os.environ.get("TERM", "linux"))
                finally:
                    os.close(theirs)
                relay(ours, self._connected().fileno(), lambda: self._command_ended(pid))
                return self._exit_codes.pop(pid)
        with open(os.devnull, "rb") as silence:
            pid = self._send_command(host, command, (0 if interactive else silence.fileno(), 1, 2), terminal=None)
        return self._await_command(pid)

    def _send_command(self, host: str, command: Sequence[str], descriptors: Sequence[int], terminal: str | None) -> int:
        pid = self._ask("execute", descriptors, host=host, command=list(command), terminal=terminal)
        assert isinstance(pid, int)
        return pid

    def _await_command(self, pid: int) -> int:
        """Wait for a command's end; Ctrl-C is passed on to it, as if it ran right here."""
        while not self._command_ended(pid):
            try:
                self._connected().wait(1.0)
            except KeyboardInterrupt:
                self._ask("command_signal", pid=pid, signal="INT")
        return self._exit_codes.pop(pid)

    def _command_ended(self, pid: int) -> bool:
        self._read()
        return pid in self._exit_codes

    # ---- runs that outlive a lab process

    def leave(self) -> None:
        assert self._folder is not None, "up comes first"
        (self._folder / KEPT_MARK).touch()  # left on purpose: `lab clean` leaves it alone
        self._ask("unsubscribe")
        self._ask("leave", unread=list(self._unread))
        self._forget()

    def attach(self, run_folder: Path) -> None:
        folder = run_folder.resolve() / FOLDER_NAME
        guard = next((guard for guard in find_guards() if guard.folder == folder), None)
        if guard is None:
            raise RunFailed(f"{run_folder}: no lab of the netns engine is up there", hint="bring one up: lab up NAME")
        connection = socket.socket(socket.AF_UNIX)
        try:
            inside = os.open(folder, os.O_PATH)
            try:  # through /proc: the path of a socket has at most 107 bytes
                connection.connect(f"/proc/self/fd/{inside}/{SOCKET_NAME}")
            finally:
                os.close(inside)
            self._guard = os.pidfd_open(guard.pid)
        except OSError as error:
            connection.close()
            raise RunFailed(
                f"{run_folder}: its lab cannot be taken over: {error.strerror}",
                hint="it is still in use by the process that brought it up, or just ending",
            ) from error
        self._folder, self._channel = folder, Channel(connection)
        described = self._ask("describe")
        self._topology = Topology.from_json(described["topology"])
        self._running = set(described["running"])
        self._ask("subscribe")

    # ---- the end

    def down(self) -> None:
        guard, folder = self._guard, self._folder
        if guard is not None:
            if not stop(guard, patience_s=_END_WITHIN_S):
                raise TeardownIncomplete("netns: the guard of the run does not end", hint="lab clean")
            with suppress(ChildProcessError):  # not ours after an attach
                os.waitid(os.P_PIDFD, guard, os.WEXITED)
        self._forget()
        if folder is not None and folder.exists():
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise TeardownIncomplete(f"{folder}: cannot be removed: {error.strerror}") from error
        self._folder = None

    def _forget(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._guard is not None:
            os.close(self._guard)
        self._channel = self._guard = None
        self._unread.clear()
        self._running.clear()

    def leftovers(self) -> list[Leftover]:
        return [
            Leftover(kind="process", name=str(guard.pid), run=guard.run, alive=_in_use(guard))
            for guard in find_guards()
        ]

    def remove(self, leftovers: Sequence[Leftover]) -> None:
        wanted = {(leftover.name, leftover.run) for leftover in leftovers}
        remaining = []
        for guard in find_guards():
            if (str(guard.pid), guard.run) in wanted and not _remove(guard):
                remaining.append(f"process {guard.pid} of run {guard.run}")
        if remaining:
            raise TeardownIncomplete(f"netns: {', '.join(remaining)}")

    # ---- the conversation with the holder

    def _connected(self) -> Channel:
        if self._channel is None:
            raise RunFailed("netns: no hosts are up")
        return self._channel

    def _ask(self, request: str, descriptors: Sequence[int] = (), **fields: Any) -> Any:
        """Make a request and return its answer; news that comes meanwhile is kept. Raises RunFailed, MachineLacks."""
        channel = self._connected()
        self._requests += 1
        number = self._requests
        message = {"id": number, "do": request, **fields}
        try:
            if descriptors:
                channel.put_with_descriptors({**message, "with_descriptors": True}, descriptors, _ANSWER_WITHIN_S)
            else:
                channel.put(message)
                channel.send_all(_ANSWER_WITHIN_S)
        except ConnectionError:
            pass  # what the holder said before it hung up tells more: read on
        end = time.monotonic() + _ANSWER_WITHIN_S
        while channel.wait(end - time.monotonic()):
            for answer in self._read():
                if answer["id"] != number:
                    continue  # to a request that an interrupt cut short
                if "failed" in answer:
                    raise RunFailed(f"netns: {request}: {answer['failed']}")
                return answer["ok"]
        raise RunFailed(f"netns: {request}: no answer from the holder within {_ANSWER_WITHIN_S:g} s")

    def _read(self) -> list[Message]:
        """Take in what the holder has sent: keep news and exit codes, return answers. Raises RunFailed when it is gone,
        MachineLacks when it could not begin.
        """
        try:
            messages = self._connected().read()
        except ConnectionError as error:
            raise RunFailed(f"netns: the process that holds the hosts has ended{self._last_words()}") from error
        answers = []
        for message in messages:
            if "news" in message:
                self._unread.append(message)
            elif "ended" in message:
                self._exit_codes[message["ended"]] = message["code"]
            elif "obstacle" in message:
                raise MachineLacks(message["obstacle"], hint=message["hint"])
            else:
                answers.append(message)
        return answers

    def _last_words(self) -> str:
        assert self._folder is not None
        with suppress(FileNotFoundError):
            lines = (self._folder / "holder.log").read_text(errors="replace").splitlines()
            if lines:
                return f": {lines[-1]}"
        return ""


def _remove(guard: Guard) -> bool:
    return end_guard(guard, patience_s=_END_WITHIN_S)


def _event(line: str) -> dict[str, Any] | None:
    """The event a line of standard output carries, if it is one."""
    if line.startswith("{"):
        with suppress(json.JSONDecodeError):
            event: dict[str, Any] = json.loads(line)
            return event if "event" in event else None
    return None


def _in_use(guard: Guard) -> bool:
    """Whether the lab process that made the run lives, or left it on purpose (`lab up`)."""
    return guard.owner_alive or (guard.folder / KEPT_MARK).exists()
