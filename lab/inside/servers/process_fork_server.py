"""The forking server: a process per connection, as Unix servers were written from the beginning.

**What the kernel does.** fork(2) makes a second process with a copy of everything: memory (copied page by page, and
only when somebody writes: copy-on-write) and descriptors (shared: both processes hold the same open connection). So
each closes what it does not need. The parent closes the connection, or the client would never see it end; the child
closes the listener, or the port would stay taken. A child that ended stays a zombie until the parent has asked for
its status (SIGCHLD, waitpid(2)).

**What the program waits in.** The parent for clients and for SIGCHLD, each child in recv and send of its one client.

**What it costs.** A fork per connection (about a millisecond for a Python process: page tables are copied), and
megabytes a client, since reference counts write to the pages that copy-on-write would have shared. In return a
computing handler uses as many cores as there are, no lock is shared, and a child that crashes takes one client with
it.

**Where it breaks.** Fork fails with EAGAIN at the limits (RLIMIT_NPROC, the container's pids limit, kernel.pid_max).
Counters, caches and sessions are not shared: here they need memory mapped by all (`counters.py`). And fork copies
only the calling thread: never fork a program that runs threads, whose locks would stay locked for ever.

fork(2), waitpid(2), signal(7) on SIGCHLD.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Fork a child for every client until the stop; then pass the stop on and wait for the children."""

    def start(connection: socket.socket) -> None:
        def in_child() -> None:
            listener.close()
            talk(server, connection)

        server.children.fork(in_child)

    a_process_each(server, listener, start)


def reap(server: Server) -> None:
    """Collect the children that have ended: each was one connection."""
    server.children.reap()
    server.count.closed = server.count.accepted - len(server.children)


def a_process_each(
    server: Server,
    listener: socket.socket,
    start: Callable[[socket.socket], None],
    reap: Callable[[Server], None] = reap,
) -> None:
    """Let `start` make a child for every client until the stop; then pass the stop on and wait for the children.

    `reap` collects those that have ended.
    """
    # Every signal also makes `wakeup_fd` readable (the self-pipe trick), so one select waits for clients and for dead
    # children alike, and nothing is done inside a signal handler.
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    listener.setblocking(False)
    while not server.stopping:
        select.select([listener.fileno(), server.signals.wakeup_fd], [], [])
        server.signals.clear_wakeup()
        reap(server)
        accept_all(server, listener, start, reap)
    accept_all(server, listener, start, reap)
    server.children.stop()
    while server.children:
        server.signals.wait(0.05)
        reap(server)


def accept_all(
    server: Server, listener: socket.socket, start: Callable[[socket.socket], None], reap: Callable[[Server], None]
) -> None:
    """Give every client that waits a child of its own."""
    while True:
        try:
            connection, _address = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
            return
        connection.setblocking(True)
        server.admit(connection, open_now=len(server.children) + 1)
        try:
            start(connection)
        except OSError as error:  # no process to be had: this client is sent away
            server.count.refused += 1
            server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
        connection.close()  # the child's copy is the connection now
        reap(server)


def talk(server: Server, connection: socket.socket) -> None:
    """Answer one client until it closes; runs in a child, which ends when this returns."""
    server.when_stopping(server.end_input)  # the parent passes the stop on
    conversation, count = server.conversation(connection), server.count
    try:
        while data := connection.recv(server.settings.recv_size):
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    time.sleep(server.service.pause_s)
                connection.sendall(piece)
                count.bytes_out += len(piece)
    except ENDED as error:
        server.ended(error)
    finally:
        connection.close()


if __name__ == "__main__":
    run("processes-fork", serve)
