"""A thread per connection, started the other way: a subclass of `Thread` whose `run` is the work.

**Two ways to start.** `Thread(target=talk, args=(connection,))` is handed a function; a subclass overrides `run`, which
otherwise calls that target. `start` is the same for both: it asks the C library for a thread (pthread_create(3), which
is clone(2)) that calls `run`, and returns once that thread has begun. So the kernel sees no difference, and neither
does a client. Calling `run` oneself instead of `start` is the classic mistake: it works, in the caller's thread, and
the next client waits.

**Which to take.** A function for work that has a beginning and an end. A class where the thread has a state that others
ask for while it lives, as here: the connection it serves, and a name that shows it in `threading.enumerate`.

**The end.** A program ends when its last thread has that is no daemon: `join` waits for one, and the interpreter joins
all at its exit. Daemon threads are cut off there, wherever they are: for work that may be lost. Here the stop lets each
answer what it has received (`startup.py`), and joins it.

What the kernel does, what it costs and where it breaks: `threaded_server.py`.

pthread_create(3), clone(2), threading in the Python library reference.
"""

from __future__ import annotations

import socket
import threading

from lab.inside.servers.startup import Server, run
from lab.inside.servers.threaded_server import a_thread_each, talk


class Client(threading.Thread):
    """The thread of one client."""

    def __init__(self, server: Server, connection: socket.socket, threads: set[threading.Thread]) -> None:
        super().__init__(name="client {}:{}".format(*connection.getpeername()[:2]), daemon=True)
        self.server = server
        self.connection = connection
        self.threads = threads

    def run(self) -> None:
        talk(self.server, self.connection, self.threads)


def serve(server: Server, listener: socket.socket) -> None:
    """Give every client a thread until the stop; then wait for the threads."""
    a_thread_each(server, listener, lambda connection, threads: Client(server, connection, threads))


if __name__ == "__main__":
    run("threads-class", serve)
