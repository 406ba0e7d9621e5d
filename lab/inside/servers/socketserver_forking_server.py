"""socketserver.ForkingTCPServer: the same frame, a process per connection.

**What it is.** `ForkingMixIn.process_request` forks: the parent closes its copy of the connection, the child calls
the handler and ends.

**What the program waits in.** The parent in a selector on the listener, each child in recv or send. Children that
have ended are collected at each turn of `serve_forever` and before each fork, not on SIGCHLD; until then they are
zombies.

**What it costs and where it breaks.** As `process_fork_server.py`; and `max_children` is 40 unless changed: with that
many open connections the parent blocks in waitpid *before it accepts on*, and client number 41 waits for one of them
to end. Here it is raised to what a host bears.

socketserver in the Python library reference; fork(2), waitpid(2).
"""

from __future__ import annotations

import os
import socket
import socketserver
import time

from lab.inside.servers.socketserver_stop import POLL_S, Stoppable
from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Client(socketserver.BaseRequestHandler):
    """One connection, in a process of its own."""

    server: ProcessEach

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


class ProcessEach(Stoppable, socketserver.ForkingTCPServer):
    """The library's server, with the lab's counting around its forks."""

    max_children = 20_000

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork, in the library; note the child and the row where it will count."""
        children = self.lab.children
        self.lab.admit(request, open_now=len(children) + 1)
        self.row = children.take_row()
        known = set(self.active_children or ())
        try:
            with children.stops_held():
                super().process_request(request, client_address)  # the child does not come back
        except OSError as error:  # no process to be had: this client is sent away
            children.give_row_back(self.row)
            self.lab.count.refused += 1
            self.lab.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
            self.close_request(request)
        for pid in set(self.active_children or ()) - known:
            children.adopt(pid, self.row)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the child: become a counting process of its own, then let the library call the handler."""
        self.socket.close()
        board = self.lab.tally.board
        assert board is not None
        self.lab.children.become_child(board, self.row, os.getppid())
        self.lab.children.release_stops()
        self.lab.when_stopping(self.lab.end_input)
        super().finish_request(request, client_address)
        request.close()
        self.lab.finish()

    def collect_children(self, *, blocking: bool = False) -> None:
        """Collect, in the library, the children that have ended: each was one connection."""
        super().collect_children(blocking=blocking)
        for pid in set(self.lab.children.pids) - set(self.active_children or ()):
            self.lab.children.forget(pid)
        self.lab.count.closed = self.lab.count.accepted - len(self.lab.children)


def serve(server: Server, listener: socket.socket) -> None:
    """Give every connection a process until the stop; then pass the stop on and wait for them."""
    processes = ProcessEach(server.address, Client, bind_and_activate=False)
    processes.serve_until_stopped(server, listener)
    server.children.stop()
    while server.children:
        server.signals.wait(POLL_S)
        processes.collect_children()


if __name__ == "__main__":
    run("socketserver-forking", serve)
