"""What every server shares before and after its I/O: options, listening socket, counting, the stop. No recv, no send.

A model's file is `serve(server, listener)` and one last line, `run("NAME", serve)`. `run` reads the options, opens the
socket, declares ready, calls `serve` (in N processes with `--workers N`), and writes the result when it returns.

**The stop.** SIGTERM means: take what is left in the accept queue, close the listener, read and answer what has been
received, close, exit 0. The trick that makes this the same for every model is `shutdown(fd, SHUT_RD)` on each
connection (`Server.end_input`): Linux still hands out what its receive buffer holds and then reports the end of the
stream, so that every loop, thread and coroutine drains through the code it has anyway for a client that closed. A
loop puts `server.signals.wakeup_fd` among its descriptors. A program that blocks in accept and recv instead arms
`server.stop_while_blocked(listener)`: the signal handler makes the listener non-blocking, and accept, which Python
calls again after a signal (PEP 475), then ends with BlockingIOError once the queue is empty.

A drain that takes too long (`--drain`) is cut by `shutdown(fd, SHUT_RDWR)`, which sets free whoever is blocked in send.

**Counting** is told twice a second by a timer signal (setitimer(2)), as a `progress` event and only if something
changed; the loops pay nothing for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import sys
import time

from lab.inside import lifecycle
from lab.inside.counters import parse_sockstat
from lab.inside.framing import FramingError, parse_framing
from lab.inside.libc_calls import CallCounter, count_calls, syscall_counts
from lab.inside.servers.children import MOST_CHILDREN, Children, usage_with
from lab.inside.servers.conversation import Conversation, Conversations, Service
from lab.inside.servers.counters import Board, Counters, Tally
from lab.inside.servers.options import Settings, open_listeners, read_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from lab.inside.boundary_tap import Tap

    Serve = Callable[["Server", socket.socket], bool | None]
    """A model: serves one listener until the stop; True if it failed."""

CUT_GRACE_S = 1.5
"""Seconds between cutting what did not drain and leaving without it."""
ACCEPT_PAUSE_S = 0.05
"""How long a blocking server leaves accept alone after it failed: descriptors do not come back by asking faster."""

WANT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)
"""Errors of accept(2), fork(2) and clone(2) that pass when others release what they hold."""

ENDED = (OSError, FramingError)
"""How a connection may end other than by the peer's orderly close; `Server.ended` tells which and counts it."""
RESET = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)
"""The peer sent a RST: met on recv, or on send (EPIPE: the second send after it)."""
VANISHED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""The peer no longer answers: retransmissions or keep-alive probes gave up."""


class Server:
    """What a model is handed: its settings, its counters, and the stop."""

    def __init__(self, settings: Settings, address: tuple[str, int]) -> None:
        self.settings = settings
        self.address = address
        self.service = Service(settings.framing, settings.handler)
        self.children = Children(self)
        self._told: tuple[int, int, int] | None = None
        self._accept_failure_told = False
        self.stop_arrived_s = 0.0
        self.cut = False
        """True once the drain took too long and connections were cut."""
        self.extra: dict[str, Any] = {}
        """What a model adds to the result: counts that only its mechanism has."""
        self.call_counter: CallCounter | None = None
        self.start_counting()

    def start_counting(self, *, row: int | None = None) -> None:
        """Begin afresh: counters at zero, signals heard here; `row` is where a child's counts go on the board."""
        self.tally = Tally()
        self.count = self.tally.main
        self.row = row
        self.tap = self._new_tap()
        self.on_stop: Callable[[], object] | None = None
        self.signals = lifecycle.Signals(on_stop=self._stop)
        signal.signal(signal.SIGUSR2, lambda _signal, _frame: self._tell_usage())
        signal.signal(signal.SIGALRM, lambda _signal, _frame: self._tick())
        signal.setitimer(signal.ITIMER_REAL, self.settings.progress_s, self.settings.progress_s)

    # --- connections ---

    def admit(self, connection: socket.socket, open_now: int | None = None) -> None:
        """Count a connection in; after the stop, with the end of its input already set."""
        self.count.opened(open_now)
        if self.stopping:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def log(self, connection: Any) -> Any:
        """The connection, which notes its calls if they are to be logged: for what a library accepted by itself."""
        if self.tap is None:
            return connection
        from lab.inside.boundary_sockets import logged  # here and below: what is not used shall cost no memory

        return logged(connection, lambda: self.tap)

    def log_awaited(self, connection: Any) -> Any:
        """The same for a socket whose calls are awaited."""
        if self.tap is None or not self.tap.admit():
            return connection
        from lab.inside.boundary_sockets import LoggedAwaited

        return LoggedAwaited(connection, self.tap)

    def logged(self, listener: socket.socket) -> socket.socket:
        """The listener, whose connections (of datagrams: which itself) note their calls if they are to be logged."""
        if self.tap is None:
            return listener
        from lab.inside.boundary_sockets import logged_listener

        return logged_listener(listener, lambda: self.tap)

    def boundaries_of(self, connection: socket.socket) -> list[str]:
        """The options by which a child that is executed afresh logs this connection, if it is among the first."""
        return [] if self.tap is None else ["--boundaries", str(int(hasattr(connection, "tap")))]

    def _new_tap(self) -> Tap | None:
        """The boundary log of this process, if there is to be one."""
        settings = self.settings
        if not settings.boundaries:
            return None
        from lab.inside.boundary_tap import Tap

        answers = parse_framing(settings.framing.text, side="client")
        return Tap(
            settings.boundaries,
            incoming=settings.framing,
            outgoing=answers,
            protocol=settings.model.transport,
        )

    def conversation(self, connection: Any = None, count: Counters | None = None) -> Conversation:
        """One connection's way from data to answers, counted in `count` (by default the main thread's).

        `connection` is the socket, or the library's stream or transport: whose log is told what was taken for a
        message.
        """
        log = None
        if self.tap is not None:
            from lab.inside.boundary_sockets import passing_of

            self.tap.program_tells = True
            log = passing_of(connection)
        return Conversation(self.service, count or self.count, log)

    def conversations(self) -> Conversations:
        """The same by descriptor, for a model that keeps no object per connection."""
        if self.tap is not None:
            self.tap.program_tells = True
        return Conversations(self.service, self.count, self.tap)

    def ended(self, error: BaseException, count: Counters | None = None) -> None:
        """Count how a connection broke off; an error that is no such thing (a mistake of ours) is raised again."""
        count = count or self.count
        if self.cut:
            return  # we broke it off ourselves; counted as undrained
        if isinstance(error, FramingError):
            count.malformed += 1
            lifecycle.say(f"connection closed: {error}")
        elif isinstance(error, OSError) and error.errno in RESET:
            count.aborted += 1
        elif isinstance(error, OSError) and error.errno in VANISHED:
            count.vanished += 1
        else:
            raise error

    def accept_failed(self, error: OSError | RuntimeError, *, pause_s: float = 0.0) -> None:
        """Count an accept (or what must follow it) that failed for want of something; a blocking server pauses.

        Raises:
            OSError: the listener itself is broken, which no pause will mend.
        """
        if isinstance(error, ConnectionError):
            return  # the client gave up while it was in the queue
        if isinstance(error, OSError) and error.errno not in WANT:
            raise error
        self.count.accept_errors += 1
        if not self._accept_failure_told:
            self._accept_failure_told = True
            lifecycle.say(f"accept: {error}; clients wait in the accept queue until something is released")
        if pause_s:
            time.sleep(pause_s)

    # --- the stop ---

    @property
    def stopping(self) -> bool:
        return self.signals.stopping

    def when_stopping(self, act: Callable[[], object]) -> None:
        """Call `act` from the signal handler when the stop comes, or now if it has come."""
        self.on_stop = act
        if self.stopping:
            act()

    def stop_while_blocked(self, listener: socket.socket) -> None:
        """Arm the stop of a program that blocks in accept and recv."""

        def stop() -> None:
            os.set_blocking(listener.fileno(), False)
            self.end_input()

        self.when_stopping(stop)

    def end_input(self) -> None:
        """Let every connection of this process read what it has received and then the end of its stream."""
        self._shut_all(socket.SHUT_RD)

    def _shut_all(self, how: int) -> None:
        for descriptor in self._connected():
            with contextlib.suppress(OSError):  # reset or closed this moment
                connection = socket.socket(fileno=descriptor)
                try:
                    connection.shutdown(how)
                finally:
                    connection.detach()

    def _connected(self) -> list[int]:
        """Descriptors that are connections of this server: found by their port, so that no model need keep a list."""
        found = []
        try:
            numbers = [int(name) for name in os.listdir("/proc/self/fd")]
        except OSError:  # no descriptor left to open that folder with
            numbers = list(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
        for number in numbers:
            try:
                sock = socket.socket(fileno=number)
            except OSError:
                continue  # not a socket, or the folder's own descriptor, closed by now
            try:
                inet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
                if inet and sock.getsockname()[1] == self.address[1] and sock.getpeername():
                    found.append(number)
            except OSError:
                pass  # the listener (ENOTCONN), or a connection that was reset this moment
            finally:
                sock.detach()
        return found

    def _stop(self) -> None:
        if not self.stop_arrived_s:
            self.stop_arrived_s = time.monotonic()
            self.count.still_open_at_stop = self.tally.own().open
        if self.on_stop is not None:
            self.on_stop()

    def _tick(self) -> None:
        """Twice a second, unless `--progress` says otherwise: tell, and hold the drain to its time."""
        self.tell()
        if not self.stop_arrived_s:  # no stop; or this alarm has come in the middle of the stop's own handler
            return
        over_s = time.monotonic() - self.stop_arrived_s - self.settings.drain_s
        if over_s > 0 and not self.cut:
            # Both directions: who is blocked in send, or waits for room, is set free too and closes.
            self.cut = True
            self.count.undrained = self.tally.own().open
            self._shut_all(socket.SHUT_RDWR)
        if over_s > CUT_GRACE_S:
            self.finish()  # a handler that computes or sleeps this long is not waited for

    # --- telling ---

    def finish(self, *, failed: bool = False) -> NoReturn:
        """Write what was counted and end the process, whatever its threads still do."""
        self.leave()
        if self.row is None:
            lifecycle.write_result("server", self._result())
        os._exit(1 if failed else 0)

    def leave(self) -> None:
        """Tell for the last time, and store what this process logged."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.tell()
        if self.tap:
            self.tap.store(f"server-{os.getpid()}")

    def _result(self) -> dict[str, Any]:
        return {
            "model": self.settings.model.name,
            "address": f"{self.address[0]}:{self.address[1]}",
            "workers": self.settings.workers,
            **self.tally.total().as_dict(),
            # A free-threaded build (PEP 703) has no interpreter lock, and threads compute side by side.
            "gil": int(getattr(sys, "_is_gil_enabled", lambda: True)()),
            **self.extra,
            "usage": lifecycle.usage() | self.children.memory_at_stop,
            "syscalls": syscall_counts(self.call_counter),
        }

    def _tell_usage(self) -> None:
        try:
            lifecycle.emit("usage", **self.usage())
        except OSError as error:  # no descriptor left to read /proc with: asking must not end the server
            lifecycle.emit("usage", pid=os.getpid(), cpu_total_ns=time.process_time_ns(), error=str(error))

    def usage(self) -> dict[str, Any]:
        """What this process and its children have used so far, their system calls and messages too."""
        total = self.tally.total()
        counts = {"accepted": total.accepted, "messages": total.messages}
        with open("/proc/self/net/sockstat") as file:
            sockets = parse_sockstat(file.read())
        calls = syscall_counts(self.call_counter)
        return {**usage_with(self.children.pids), **counts, "sockstat": sockets, "syscalls": calls}

    def tell(self) -> None:
        """Report the counts so far: a child on its row of the board, the others as a `progress` event."""
        total = self.tally.total()
        if self.row is not None:
            self.children.parents_board.store(self.row, total)
            return
        now = (total.open, total.accepted, total.messages)
        if now != self._told:
            self._told = now
            try:
                lifecycle.emit("progress", open=total.open, accepted=total.accepted, messages=total.messages)
            except BrokenPipeError:  # whoever started us is gone: nobody will ever say stop
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                os.kill(os.getpid(), signal.SIGTERM)


def readable(sock: socket.socket) -> bool:
    """Whether something waits in a receive buffer or an accept queue (or the end of the stream does), now."""
    poll = select.poll()  # not select: descriptors may lie above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def run(name: str, serve: Serve, *, probe: Callable[[], None] | None = None) -> NoReturn:
    """Run the model `name` from its command line to its result; ends the process.

    `probe` may end it first, with a clear line, where the kernel lacks what the model needs.
    """
    calls = count_calls()  # first, so that whatever looks functions up from now on gets those that count
    settings = read_settings(name, sys.argv[1:])
    if probe is not None:
        probe()
    lifecycle.raise_descriptor_limit()
    listeners = open_listeners(settings)
    address = listeners[0].getsockname()[:2]
    server = Server(settings, address)
    server.call_counter = calls
    lifecycle.ready(
        "server", address=f"{address[0]}:{address[1]}", model=name, workers=settings.workers, pool=settings.pool
    )
    listeners = [server.logged(listener) for listener in listeners]
    if len(listeners) > 1:
        failed = server.children.work_in_parallel(serve, listeners)
    else:
        failed = bool(serve(server, listeners[0]))
    server.finish(failed=failed)


def server_in_child(
    name: str, argv: list[str], connection: socket.socket, board: int, row: int
) -> tuple[Server, socket.socket]:
    """Make the server of a child that was executed afresh, counting on the board its parent made; and its connection,
    logged if it is to be."""
    calls = count_calls()
    settings = read_settings(name, argv)
    server = Server(settings, connection.getsockname()[:2])
    server.call_counter = calls
    server.children.become_child(Board(MOST_CHILDREN, board), row, os.getppid())
    server.children.release_stops()  # held by the parent until somebody hears them
    return server, server.log(connection)
