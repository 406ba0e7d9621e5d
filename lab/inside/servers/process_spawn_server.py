"""A freshly started interpreter per connection: a new program instead of a copy of this one.

**What the kernel does.** posix_spawn(3) makes a child that shares the parent's memory for a moment and runs nothing
but execve(2) (inside: clone with CLONE_VM and CLONE_VFORK). The new program starts with empty memory; all it has are
the descriptors that were not marked close-on-exec. So what fork gives for nothing must be handed over by name: the
connection's number and the counters' number as arguments, both marked inheritable just before. (Python marks every
descriptor close-on-exec, PEP 446.) `multiprocessing`'s start method `spawn` works like this, and so does inetd(8).

**What the program waits in.** The parent for clients and for SIGCHLD, each child in recv and send of its one client:
both are those of `process_fork_server.py`. How a child comes to be is what stands here.

**What it costs.** The start of an interpreter and its imports per connection: tens of milliseconds and some ten
megabytes that nobody shares. Spawning is safe where fork is not (in programs with threads), and the child inherits no
secrets by accident.

**Where it breaks.** At connection rates: a few dozen a second and core is all there is.

posix_spawn(3), execve(2), fcntl(2) on FD_CLOEXEC.
"""

from __future__ import annotations

import os
import socket
import sys

from lab.inside.servers.children import STOPS
from lab.inside.servers.process_fork_server import a_process_each, talk
from lab.inside.servers.startup import Server, run, server_in_child


def serve(server: Server, listener: socket.socket) -> None:
    """Start an interpreter for every client until the stop; then pass the stop on and wait for them."""
    a_process_each(server, listener, lambda connection: spawn(server, connection))


def spawn(server: Server, connection: socket.socket) -> None:
    """Start this module again, as a child that serves one connection. Raises OSError when no process is to be had."""
    row = server.children.take_row()
    board = server.tally.board
    assert board is not None
    handed_over = [connection.fileno(), board.descriptor]
    for descriptor in handed_over:
        os.set_inheritable(descriptor, True)
    arguments = [sys.executable, "-m", "lab.inside.servers.process_spawn_server", CHILD]
    arguments += [*map(str, handed_over), str(row), *sys.argv[1:], *server.boundaries_of(connection)]
    try:
        pid = os.posix_spawn(sys.executable, arguments, os.environ, setsigmask=STOPS)
    except OSError:
        server.children.give_row_back(row)
        raise
    server.children.adopt(pid, row)


CHILD = "--child"


def child(arguments: list[str]) -> None:
    """What the fresh interpreter runs: descriptor of the connection, of the counters, its row there, and the
    options."""
    connection_fd, board_fd, row, *options = arguments
    inherited = socket.socket(fileno=int(connection_fd))
    server, connection = server_in_child("processes-spawn", options, inherited, int(board_fd), int(row))
    talk(server, connection)
    server.finish()


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(sys.argv[2:])
    run("processes-spawn", serve)
