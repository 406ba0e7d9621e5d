"""A process per connection, started the other way: a subclass of `multiprocessing.Process` whose `run` is the work.

**Two ways to start.** As with threads (`threads_class_server.py`): `Process(target=work, args=(...))` is handed a
function, a subclass overrides `run`. `start` is the same for both: under the start method `fork` it is a fork(2) whose
child calls `run`; under `spawn` the object itself, with all it holds, is pickled and sent to a new interpreter, so a
class that keeps a lock, a thread or an open file cannot be started at all.

**What is easily forgotten.** The object exists twice. What `run` sets on `self` is set in the child alone, and the
parent, which reads the same attribute of what looks like the same object, finds its old value. Results must be sent:
through a pipe, a queue, shared memory (here a row of the counters' board, `counters.py`).

What the kernel does, what it costs, daemon and join: `processes_target_server.py`.

fork(2), multiprocessing in the Python library reference.
"""

from __future__ import annotations

import os
import socket
from multiprocessing.context import ForkProcess

from lab.inside.servers.process_fork_server import a_process_each
from lab.inside.servers.processes_target_server import collect, start, work
from lab.inside.servers.startup import Server, run


class Client(ForkProcess):
    """The process of one client."""

    def __init__(self, server: Server, listener: socket.socket, connection: socket.socket, row: int) -> None:
        super().__init__(name="client {}:{}".format(*connection.getpeername()[:2]))
        self.server = server
        self.listener = listener
        self.connection = connection
        self.row = row
        self.parent = os.getpid()

    def run(self) -> None:
        work(self.server, self.listener, self.connection, self.row, self.parent)


def serve(server: Server, listener: socket.socket) -> None:
    """Start a process for every client until the stop; then pass the stop on and wait for them."""

    def make(connection: socket.socket, row: int) -> Client:
        return Client(server, listener, connection, row)

    a_process_each(server, listener, lambda connection: start(server, connection, make), collect)


if __name__ == "__main__":
    run("processes-class", serve)
