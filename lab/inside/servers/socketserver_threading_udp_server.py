"""socketserver.ThreadingUDPServer: a thread per datagram.

**What it is.** `ThreadingMixIn` over `UDPServer`: the main thread receives, each datagram is answered by a thread
made for it.

**Why one might.** A handler that waits (a database, another server) does not hold up the next datagram.

**What it costs.** A thread per datagram: some 50 to 100 us to answer 64 bytes, ten times the rest. Order is lost: two
datagrams of one client race in two threads, and the answers may overtake each other, which on UDP nobody will mend.

**Where it breaks.** At the first burst: nothing bounds the number of threads.

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
    """One datagram, in a thread of its own."""

    server: ThreadEach

    def handle(self) -> None:
        """Answer it."""
        lab = self.server.lab
        data, sock = self.request
        with lab.tally.part() as count:
            for piece in lab.service.answer_datagram(data, count):
                if lab.service.pause_s:
                    time.sleep(lab.service.pause_s)  # only this datagram waits
                send_to(sock, piece, self.client_address, count)


class ThreadEach(Stoppable, socketserver.ThreadingUDPServer):
    """The library's server."""

    def close_request(self, request: object) -> None:
        """Nothing to close: the socket is everybody's."""


def serve(server: Server, sock: socket.socket) -> None:
    """Give every datagram a thread until the stop and the receive buffer's end; then wait for the threads."""
    datagrams = ThreadEach(server.address, Datagram, bind_and_activate=False)
    ThreadEach.max_packet_size = server.settings.recv_size
    datagrams.serve_until_stopped(server, sock)
    server.count.dropped = read_dropped(sock)
    # `server_close` closes the socket before it joins the threads that still answer on it: it gets another to close.
    datagrams.socket = sock.dup()
    datagrams.server_close()


if __name__ == "__main__":
    run("socketserver-threading-udp", serve)
