"""The polling server: non-blocking sockets and no waiting at all. It asks everybody, all the time.

**What the kernel does.** O_NONBLOCK on a socket changes one thing: a call that would sleep fails instead, with EAGAIN
(BlockingIOError). The kernel does no work for us meanwhile: it answers "nothing yet" as often as we ask.

**What the program waits in.** Nothing. It is always running: accept, then recv on every connection in turn, then again.

**What it costs.** A full core, whether ten thousand clients work or one idles: with N idle connections each round is
N+1 useless system calls (and in Python as many exceptions). A message waits until its connection's turn comes: half a
round on average.

**Where it breaks.** On the power bill at once, and with many connections on latency. It is here to show what
readiness is for: select, poll and epoll are the same loop, asleep until there is something to do. (Polling is right
where the next event is always nearer than a wake-up is long: network cards under load, DPDK, SO_BUSY_POLL.)

fcntl(2) on O_NONBLOCK, recv(2) on EAGAIN.
"""

from __future__ import annotations

import socket
import time

from lab.inside.servers.conversation import Conversation
from lab.inside.servers.startup import ENDED, Server, run


class Client:
    """One connection: its socket, its unfinished message, and what it has still to take."""

    __slots__ = ("conversation", "socket", "unsent")

    def __init__(self, connection: socket.socket, conversation: Conversation) -> None:
        self.socket = connection
        self.conversation = conversation
        self.unsent = b""


def serve(server: Server, listener: socket.socket) -> None:
    """Ask the listener and every connection in turn, for ever, until the stop."""
    listener.setblocking(False)
    listening = True
    clients: set[Client] = set()
    while listening or clients:
        if listening:
            stopping = server.stopping  # looked at before accepting, so that the last accept comes after the stop
            accept(server, listener, clients)
            if stopping:
                listener.close()
                listening = False
                server.end_input()
        for client in list(clients):
            if not work(server, client):
                clients.remove(client)
                client.socket.close()
                server.count.closed += 1


def accept(server: Server, listener: socket.socket, clients: set[Client]) -> None:
    """Take every connection that waits."""
    while True:
        try:
            connection, _address = listener.accept()
        except BlockingIOError:
            return  # nobody there
        except OSError as error:
            server.accept_failed(error)
            return  # ask again next round, as we do with everything
        connection.setblocking(False)
        server.admit(connection)
        clients.add(Client(connection, server.conversation(connection)))


def work(server: Server, client: Client) -> bool:
    """Do what can be done for one connection without waiting; False once it has ended."""
    try:
        if client.unsent:  # read no more from a peer that does not read
            send(server, client)
            return True
        data = client.socket.recv(server.settings.recv_size)
        if not data:
            return False  # the client's FIN; all it sent before that has been answered
        for piece in client.conversation.respond(data):
            if server.service.pause_s:
                time.sleep(server.service.pause_s)  # and everybody waits: the price of one thread
            client.unsent += piece
            send(server, client)
    except BlockingIOError:
        pass  # nothing there
    except ENDED as error:
        server.ended(error)
        return False
    return True


def send(server: Server, client: Client) -> None:
    """Send what the send buffer takes; the rest stays in `unsent`."""
    try:
        sent = client.socket.send(client.unsent)
    except BlockingIOError:
        return
    server.count.bytes_out += sent
    client.unsent = client.unsent[sent:]


if __name__ == "__main__":
    run("nonblocking", serve)
