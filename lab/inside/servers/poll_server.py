"""The poll server: one thread waits for many sockets, with no ceiling, but every call walks every connection.

**What the kernel does.** poll(2) takes an array of (descriptor, events wanted, events found). At every call the array
is copied in, each socket is asked for its state and given a wait entry, the thread sleeps if none is ready, the
entries are taken off again, and the array is copied back. Nothing is remembered between two calls. With N connections
a call costs N, though a single one may be ready: at ten thousand idle connections each wake-up is a millisecond's
walk, paid again for the next message. epoll (`epoll_server.py`) keeps the list and its wait entries in the kernel and
walks nothing: that is the whole difference.

**What the program waits in.** poll, and nowhere else; sockets are non-blocking since readiness is a hint.

**What it costs.** 8 bytes a connection copied each way, some 50 to 100 ns a connection and call; then one recv and
one send an exchange. Under load the walk is shared by all that are ready at once, so that poll looks best when it is
busiest.

**Where it breaks.** It does not: no fixed limit, unlike select's 1024 bits. It only gets slower with every client
that idles.

poll(2).
"""

from __future__ import annotations

import select
import socket
import time
from select import POLLIN, POLLOUT

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
    """Serve all connections of one listener in this thread until the stop."""
    PollServer(server, listener).loop()


class PollServer:
    """The array that poll walks, and every connection in it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.listener = listener
        self.listener.setblocking(False)
        self.listening = True
        self.accepting = True
        self.clients: dict[int, Client] = {}
        self.poll = select.poll()  # a list in this process; the kernel sees it only during each call
        self.poll.register(listener, POLLIN)
        self.poll.register(server.signals.wakeup_fd, POLLIN)

    def loop(self) -> None:
        """Wait, and do what is ready, until the stop has come and every connection has ended."""
        wakeup_fd, listener_fd = self.server.signals.wakeup_fd, self.listener.fileno()
        while self.listening or self.clients:
            for fd, events in self.poll.poll():
                if fd == listener_fd and self.listening:
                    self.accept()
                elif fd == wakeup_fd:
                    self.signalled()
                elif fd not in self.clients:
                    continue  # closed while this batch was being worked through
                elif self.clients[fd].unsent:
                    self.send(self.clients[fd], b"")
                elif events:  # POLLIN; POLLERR and POLLHUP come unasked, and recv will say what they mean
                    self.receive(self.clients[fd])

    def accept(self) -> None:
        """Take every connection that waits."""
        while True:
            try:
                connection, _address = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.server.accept_failed(error)
                if self.accepting:
                    self.accepting = False
                    self.poll.unregister(self.listener)
                return
            self.server.admit(connection)
            connection.setblocking(False)
            self.clients[connection.fileno()] = Client(connection, self.server.conversation(connection))
            self.poll.register(connection, POLLIN)

    def receive(self, client: Client) -> None:
        """One recv, as poll promised; answer what became whole."""
        try:
            data = client.socket.recv(self.server.settings.recv_size)
            if not data:  # the client's FIN; all it sent before that has been answered
                self.close(client)
                return
            for piece in client.conversation.respond(data):
                if self.server.service.pause_s:
                    time.sleep(self.server.service.pause_s)  # and everybody waits: the price of one thread
                self.send(client, piece)
        except BlockingIOError:
            return
        except ENDED as error:
            self.server.ended(error)
            self.close(client)

    def send(self, client: Client, piece: bytes) -> None:
        """Send what was kept and `piece` behind it, as far as the send buffer takes it; keep the rest."""
        if client.socket.fileno() < 0:
            return  # it broke at an earlier piece
        was_waiting = bool(client.unsent)
        client.unsent += piece
        if piece and was_waiting:
            return  # there was no room before; poll will tell
        try:
            sent = client.socket.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.server.ended(error)
            self.close(client)
            return
        self.server.count.bytes_out += sent
        client.unsent = client.unsent[sent:]
        if bool(client.unsent) != was_waiting:
            # Ask for room and read no more from a peer that does not read; or the other way round.
            self.poll.modify(client.socket, POLLOUT if client.unsent else POLLIN)

    def close(self, client: Client) -> None:
        """Forget a connection; with its descriptor back, accept may work again."""
        if client.socket.fileno() < 0:
            return
        self.poll.unregister(client.socket)
        del self.clients[client.socket.fileno()]
        client.socket.close()
        self.server.count.closed += 1
        self.resume_accepting()

    def resume_accepting(self) -> None:
        """Ask for the listener again: a descriptor has come back, or half a second has passed."""
        if not self.accepting and self.listening:
            self.accepting = True
            self.poll.register(self.listener, POLLIN)

    def signalled(self) -> None:
        """A signal came: if it was the stop, accept what is queued, listen no more, let every stream come to its
        end."""
        self.server.signals.clear_wakeup()
        if self.server.stopping and self.listening:
            self.accept()
            if self.accepting:
                self.poll.unregister(self.listener)
            self.listener.close()
            self.listening = False
            self.server.end_input()
        self.resume_accepting()


if __name__ == "__main__":
    run("poll", serve)
