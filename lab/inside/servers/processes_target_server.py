"""A process per connection by the standard library: `multiprocessing.Process(target=...)`, which looks like a thread.

**What the kernel does.** The same as in `process_fork_server.py`: the start method is `fork`, so `start` is a fork(2)
whose child calls the target and then ends. The child has copies: of the counter that a handler raises, of its lock, of
every descriptor. Nothing that it changes is seen by the parent or by another child, however much the code looks like
threads. (The start method `spawn` begins with a new interpreter and is handed its arguments by pickle, as
`process_spawn_server.py` does it by hand; `forkserver` forks a process that was spawned clean. Which is the default
has changed: fork on Linux up to Python 3.13, forkserver from 3.14 on. So this one is asked for by name.)

**What is different from a bare fork.** The parent keeps a pipe to each child, by whose end it knows that one has died
(`sentinel`): two descriptors a child. The children are waited for by the library: `active_children` collects those that
have ended, as `join` does. A program that calls waitpid(-1) itself takes its exit statuses away from it, and then the
library believes for ever that they live.

**Daemon and join.** The interpreter joins its children at its exit, unless they are daemons, which it ends by SIGTERM.
A child that nobody joins is a zombie until the parent ends.

**Where it breaks.** As `process_fork_server.py`; and never fork in a program that runs threads.

fork(2), waitpid(2), multiprocessing in the Python library reference, "Contexts and start methods".
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from lab.inside.servers.process_fork_server import a_process_each, talk
from lab.inside.servers.startup import Server, run

FORK = multiprocessing.get_context("fork")


def serve(server: Server, listener: socket.socket) -> None:
    """Start a process for every client until the stop; then pass the stop on and wait for them."""

    def make(connection: socket.socket, row: int) -> BaseProcess:
        return FORK.Process(target=work, args=(server, listener, connection, row, os.getpid()))

    a_process_each(server, listener, lambda connection: start(server, connection, make), collect)


def start(server: Server, connection: socket.socket, make: Callable[[socket.socket, int], BaseProcess]) -> None:
    """Start the process that `make` makes; its counts go to a row of the board. Raises OSError: none is to be had."""
    row = server.children.take_row()
    process = make(connection, row)
    try:
        with server.children.stops_held():
            process.start()
    except OSError:
        server.children.give_row_back(row)
        raise
    assert process.pid is not None
    server.children.adopt(process.pid, row)


def work(server: Server, listener: socket.socket, connection: socket.socket, row: int, parent: int) -> None:
    """What the child does: serve one client, and end."""
    assert server.tally.board is not None
    try:
        server.children.become_child(server.tally.board, row, parent)
        server.children.release_stops()
        listener.close()
        talk(server, connection)
    finally:
        server.leave()


def collect(server: Server) -> None:
    """Collect the children that have ended: each was one connection."""
    living = {process.pid for process in multiprocessing.active_children()}
    for pid in server.children.pids:
        if pid not in living:
            server.children.forget(pid)
    server.count.closed = server.count.accepted - len(server.children)


if __name__ == "__main__":
    run("processes-target", serve)
