"""The holder: process 1 of a run's PID namespace. It builds the hosts, starts programs, and passes on their news.

One thread, one loop, never blocked by a peer. The lab that started it is its first client; others come through a socket
in the run folder once the first has left (`attach`). Requests, each answered by `{"id", "ok"}` or `{"id", "failed"}`:
build, start, signal, execute, command_signal, subscribe, unsubscribe, leave, describe.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.engines import namespaces as ns
from lab.engines.cgroups import Limits, NoLimits
from lab.engines.netns_backlog import Backlog
from lab.engines.netns_channel import Channel, Message
from lab.engines.netns_hosts import HostNamespaces, create_hosts
from lab.engines.netns_programs import Order, Started, Stream, exit_code, start_all, start_command
from lab.topology import Program, Topology

SOCKET_NAME = "control"
"""In the run's netns folder: where an `attach` comes in."""
_DRAIN_READS = 64  # of 64 KiB: more than a pipe holds


def hold(control: int, *, detach: int) -> None:
    """Serve the lab at the other end of `control` until this process is killed; a byte on `detach` tells the guard that
    the lab may end.
    """
    holder = Holder(detach)
    holder.add_client(socket.socket(fileno=control))
    holder.loop()


class Holder:
    """The state of one run, as its process 1 keeps it."""

    def __init__(self, detach: int) -> None:
        self._detach = detach
        self._selector = selectors.DefaultSelector()
        self._clients: set[Channel] = set()
        self._backlog = Backlog()
        self._paused = False
        self._hosts: dict[str, HostNamespaces] = {}
        self._topology: Topology | None = None
        self._folder = Path()
        self._limits: Limits | None = None
        self._running: dict[int, Started] = {}
        self._commands: dict[int, Channel] = {}
        self._wakeup, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a host's `kill -INT 1` must not end the run
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)

    def loop(self) -> None:
        while True:
            for key, _events in self._selector.select():
                # An earlier one of this round may have closed the descriptor, and a new one taken its number.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._pass_on()

    def _pass_on(self) -> None:
        """Send what the lab has room for; read on from the programs, or let them wait, by how far it is behind."""
        with suppress(ConnectionError):  # found as a hang-up at the next turn
            self._backlog.pass_on()
        for channel in self._clients:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.pending else 0)
            if self._selector.get_key(channel).events != events:
                self._selector.modify(channel, events, self._selector.get_key(channel).data)
        if self._backlog.full != self._paused:
            self._paused = not self._paused
            for program in self._running.values():
                for stream in program.streams:
                    if self._paused:
                        self._selector.unregister(stream.descriptor)
                    else:
                        self._listen_to(program, stream)

    # ---- clients

    def add_client(self, connection: socket.socket) -> None:
        channel = Channel(connection)
        self._clients.add(channel)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(channel))

    def _hear(self, channel: Channel) -> None:
        try:
            channel.flush()
            messages = channel.read()
        except ConnectionError:
            self._drop_client(channel)
            return
        for message in messages:
            self._answer(channel, message)

    def _drop_client(self, channel: Channel) -> None:
        self._selector.unregister(channel)
        channel.close()
        self._clients.discard(channel)
        if self._backlog.subscriber is channel:
            self._backlog.subscriber = None
        for pid, owner in list(self._commands.items()):
            if owner is channel:
                del self._commands[pid]
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _answer(self, channel: Channel, message: Message) -> None:
        requests: dict[str, Callable[[Channel, Message], Any]] = {
            "build": self._build,
            "start": self._start,
            "signal": self._signal,
            "execute": self._execute,
            "command_signal": self._command_signal,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "leave": self._leave,
            "describe": self._describe,
        }
        try:
            answer: Message = {"ok": requests[message["do"]](channel, message)}
        except Exception as error:  # noqa: BLE001  the lab is told, and decides; the run's process 1 must not end by it
            answer = {"failed": str(error) or repr(error)}
        with suppress(ConnectionError):  # found as a hang-up at the next turn
            channel.put({"id": message["id"], **answer})

    def _listen(self) -> None:
        """Take clients at a socket in the run's folder, named through /proc since such a path has at most 107 bytes."""
        listener = socket.socket(socket.AF_UNIX)
        folder = os.open(self._folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
        os.close(folder)
        listener.listen()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        connection, _address = listener.accept()
        _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid == os.getuid():
            self.add_client(connection)
        else:
            connection.close()

    # ---- requests

    def _build(self, _channel: Channel, message: Message) -> list[str]:
        """Make all hosts and networks; return what could not be had, one line for the user each."""
        notes = []
        try:
            ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
        except PermissionError:
            notes.append("a /proc of its own is refused here, as in many containers: the hosts show the machine's pids")
        self._topology = Topology.from_json(message["topology"])
        self._folder = Path(message["folder"])
        if any(host.cpus is not None or host.memory_bytes is not None for host in self._topology.hosts):
            try:
                self._limits = Limits(message["run"])
            except NoLimits as error:
                notes.append(f"CPU and memory limits do not hold: {error}")
        self._hosts = create_hosts(self._topology, self._folder)
        from lab.engines.netns_links import connect  # here: pyroute2 is slow to import, and the namespaces are made

        connect(self._topology, self._hosts)
        return notes

    def _start(self, _channel: Channel, message: Message) -> None:
        for program in start_all([self._order(Program(**fields)) for fields in message["programs"]]):
            self._running[program.pid] = program
            if not self._paused:
                for stream in program.streams:
                    self._listen_to(program, stream)

    def _order(self, program: Program) -> Order:
        assert self._topology is not None
        host = self._topology.host(program.host)
        group = None
        if self._limits is not None and (host.cpus is not None or host.memory_bytes is not None):
            group = self._limits.group(program.name, cpus=host.cpus, memory_bytes=host.memory_bytes)
        return Order(
            name=program.name,
            host=self._hosts[program.host],
            module=program.module,
            arguments=tuple(program.arguments),
            capabilities=tuple(program.capabilities),
            nofile=program.nofile,
            group=group,
        )

    def _signal(self, _channel: Channel, message: Message) -> None:
        for program in self._running.values():
            if program.name in message["programs"]:
                os.kill(program.pid, signal.Signals[f"SIG{message['signal']}"])

    def _execute(self, channel: Channel, message: Message) -> int:
        descriptors = message["descriptors"]
        try:
            host = self._hosts[message["host"]]
            pid = start_command(host, message["command"], descriptors, terminal=message["terminal"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._commands[pid] = channel
        return pid

    def _command_signal(self, channel: Channel, message: Message) -> None:
        if self._commands.get(message["pid"]) is channel:
            os.killpg(message["pid"], signal.Signals[f"SIG{message['signal']}"])

    def _subscribe(self, channel: Channel, _message: Message) -> None:
        self._backlog.subscriber = channel

    def _unsubscribe(self, channel: Channel, _message: Message) -> None:
        if self._backlog.subscriber is channel:
            self._backlog.subscriber = None

    def _leave(self, _channel: Channel, message: Message) -> None:
        """Live on without the lab, and listen for another."""
        self._backlog.put_back(message["unread"])
        if self._detach >= 0:
            self._listen()
            os.write(self._detach, b"d")
            os.close(self._detach)
            self._detach = -1

    def _describe(self, _channel: Channel, _message: Message) -> Message:
        assert self._topology is not None
        return {"topology": self._topology.to_json(), "running": [p.name for p in self._running.values()]}

    # ---- programs

    def _listen_to(self, program: Started, stream: Stream) -> None:
        self._selector.register(stream.descriptor, selectors.EVENT_READ, lambda: self._read(program, stream))

    def _read(self, program: Started, stream: Stream) -> None:
        lines, ended = stream.read()
        for line in lines:
            self._backlog.append_line(program.name, stream.kind, line)
        if ended:
            self._selector.unregister(stream.descriptor)
            os.close(stream.descriptor)
            program.streams.remove(stream)

    def _reap(self) -> None:
        """Take leave of every process that has ended, also of orphans, which fall to process 1."""
        with suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._running:
                self._end(self._running.pop(pid), exit_code(status))
            elif pid in self._commands:
                channel = self._commands.pop(pid)
                with suppress(ConnectionError):
                    channel.put({"ended": pid, "code": exit_code(status)})

    def _end(self, program: Started, code: int) -> None:
        """End a program whose main process has ended, as a container would: what it left running is killed, what it
        said is still read, and nothing more comes.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
        for stream in program.streams:
            if not self._paused:
                self._selector.unregister(stream.descriptor)
            for _turn in range(_DRAIN_READS):
                lines, ended = stream.read()
                for line in lines:
                    self._backlog.append_line(program.name, stream.kind, line)
                if ended or not lines:
                    break
            for line in stream.unfinished():
                self._backlog.append_line(program.name, stream.kind, line)
            os.close(stream.descriptor)
        if program.group is not None:
            program.group.remove()
        self._backlog.append_exit(program.name, code)
