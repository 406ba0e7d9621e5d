"""socketserver.ThreadingTCPServer: the same frame, a thread per connection.

**What it is.** `ThreadingMixIn` replaces one method: `process_request` starts a thread that calls the handler,
instead of calling it. That is the frame's whole idea: how requests run side by side is a base class, and `handle`
stays as it is.

**What the program waits in.** The main thread in a selector on the listener; each client's thread in recv or send.

**What it costs and where it breaks.** As `threaded_server.py`: memory and scheduling per thread, one interpreter
lock, no upper bound. Threads that are not daemons are kept in a list and joined by `server_close` (`block_on_close`).

socketserver in the Python library reference.
"""

from __future__ import annotations

import socket
import socketserver
import time

from lab.inside.servers.socketserver_stop import Stoppable
from lab.inside.servers.startup import ENDED, Server, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Client(socketserver.BaseRequestHandler):
    """One connection, in a thread of its own."""

    server: ThreadEach

    def handle(self) -> None:
        """Answer the client until it closes."""
        lab = self.server.lab
        with lab.tally.part() as count:
            conversation = lab.conversation(self.request, count)
            try:
                while data := self.request.recv(lab.settings.recv_size):
                    for piece in conversation.respond(data):
                        if lab.service.pause_s:
                            time.sleep(lab.service.pause_s)
                        self.request.sendall(piece)
                        count.bytes_out += len(piece)
            except ENDED as error:
                lab.ended(error, count)


class ThreadEach(Stoppable, socketserver.ThreadingTCPServer):
    """The library's server, with the lab's counting around a request."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.address, Client, bind_and_activate=False)
        self.open_requests: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open_requests.add(request)
        self.lab.admit(request, open_now=len(self.open_requests))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Called in the client's thread, at its end."""
        super().shutdown_request(request)
        self.open_requests.discard(request)
        with self.lab.tally.part() as count:
            count.closed += 1


def serve(server: Server, listener: socket.socket) -> None:
    """Give every connection a thread until the stop; then wait for the threads."""
    threads = ThreadEach(server)
    threads.serve_until_stopped(server, listener)
    threads.server_close()


if __name__ == "__main__":
    run("socketserver-threading", serve)
