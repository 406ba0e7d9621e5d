"""socketserver.UDPServer: the frame for datagrams, where a request is one datagram.

**What it is.** `request` is a pair: the datagram and the server's socket to answer with. `handle` is called once a
datagram; there is nothing to accept and nothing to close.

**What the program waits in.** `serve_forever` in a selector on the one socket, then recvfrom: two system calls before
the answer's third, where `udp_server.py` needs one.

**Where it breaks.** `max_packet_size` is 8192 bytes: what is longer is cut without a word, since recvfrom does not
tell (here it is the lab's recv size). And one datagram at a time: a handler that waits lets the receive buffer
overflow.

socketserver in the Python library reference; udp(7).
"""

from __future__ import annotations

import socket
import socketserver
import time

from lab.inside.servers.socketserver_stop import Stoppable
from lab.inside.servers.startup import Server, run
from lab.inside.servers.udp_common import read_dropped, send_to


class Datagram(socketserver.BaseRequestHandler):
    """One datagram."""

    server: OneAtATime

    def handle(self) -> None:
        """Answer it."""
        lab = self.server.lab
        data, sock = self.request
        for piece in lab.service.answer_datagram(data, lab.count):
            if lab.service.pause_s:
                time.sleep(lab.service.pause_s)
            send_to(sock, piece, self.client_address, lab.count)


class OneAtATime(Stoppable, socketserver.UDPServer):
    """The library's server."""


def serve(server: Server, sock: socket.socket) -> None:
    """Answer one datagram after another until the stop and the receive buffer's end."""
    datagrams = OneAtATime(server.address, Datagram, bind_and_activate=False)
    OneAtATime.max_packet_size = server.settings.recv_size
    datagrams.serve_until_stopped(server, sock)
    server.count.dropped = read_dropped(sock)


if __name__ == "__main__":
    run("socketserver-udp", serve)
