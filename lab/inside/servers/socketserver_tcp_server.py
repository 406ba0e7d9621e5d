"""socketserver.TCPServer: the standard library's frame, one connection at a time.

**What it is.** The library accepts, makes an object of our handler class, calls `handle`, closes. What we write is
`handle`.

**What the program waits in.** `serve_forever` in a selector (poll(2)) on the listener alone, with a timeout to notice
a stop; then `handle` in recv of its one client. Its selector never sees the connections.

**What it costs.** A handler object a connection; else as `blocking_server.py`.

**Where it breaks.** As the blocking server: a second client is connected by the kernel and waits until the first has
closed. It is meant for one short request a connection. `request_queue_size`, the backlog, is 5 unless changed (here
the lab's listener brings its own); an error of accept is dropped and tried again at once, a busy loop when
descriptors run out (mended in `socketserver_stop.py`).

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
    """One connection."""

    server: OneAtATime

    def handle(self) -> None:
        """Answer the client until it closes."""
        lab = self.server.lab
        conversation, count = lab.conversation(self.request), lab.count
        try:
            while data := self.request.recv(lab.settings.recv_size):
                for piece in conversation.respond(data):
                    if lab.service.pause_s:
                        time.sleep(lab.service.pause_s)
                    self.request.sendall(piece)
                    count.bytes_out += len(piece)
        except ENDED as error:
            lab.ended(error)


class OneAtATime(Stoppable, socketserver.TCPServer):
    """The library's server, with the lab's counting around a request."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.lab.admit(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.lab.count.closed += 1


def serve(server: Server, listener: socket.socket) -> None:
    """Serve one connection after another until the stop."""
    OneAtATime(server.address, Client, bind_and_activate=False).serve_until_stopped(server, listener)


if __name__ == "__main__":
    run("socketserver-tcp", serve)
