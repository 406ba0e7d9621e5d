"""What the socketserver models share: the lab's listener in a socketserver, counting, and the stop."""

from __future__ import annotations

import contextlib
import socketserver
from socket import socket as Socket

from lab.inside.servers.startup import ACCEPT_PAUSE_S, Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLL_S = 0.1
"""How often `serve_forever` looks up from its wait: socketserver's own way to notice a stop."""


class _Stopped(Exception):
    """Leaves `serve_forever`: its own `shutdown` would wait for itself, called from the thread that serves."""


class Stoppable(socketserver.BaseServer):
    """Mixed into one of the library's servers, before it in the list of bases."""

    lab: Server
    socket: Socket

    def serve_until_stopped(self, lab: Server, listener: Socket) -> None:
        """Serve on the lab's socket until the stop, then what is still queued."""
        self.lab = lab
        self.socket.close()  # the one the library made
        self.socket = listener
        lab.when_stopping(lab.end_input)
        with contextlib.suppress(_Stopped):
            self.serve_forever(poll_interval=POLL_S)
        self.timeout = 0
        self.queue_empty = False
        while not self.queue_empty:
            self.handle_request()
        lab.end_input()

    def service_actions(self) -> None:
        """Called by `serve_forever` at every turn."""
        super().service_actions()
        if self.lab.stopping:
            raise _Stopped

    def handle_timeout(self) -> None:
        """Called by `handle_request` when nobody was there."""
        self.queue_empty = True

    def get_request(self) -> Any:
        """Accept, or receive a datagram. The library drops any error here and asks again at once: a busy loop."""
        try:
            return super().get_request()  # TCPServer and UDPServer have it
        except OSError as error:
            self.lab.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
            raise
