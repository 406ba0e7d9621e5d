"""The select server: one thread waits for many sockets at once, as long as no descriptor is above 1023.

**What the kernel does.** select(2) takes three bitmaps (readable, writable, exceptional), one bit a descriptor. At
every call they are copied in, the kernel asks each named socket for its state and hangs a wait entry on it, sleeps if
none is ready, then takes the entries off, and copies the bitmaps back. So a call costs in proportion to the highest
descriptor and to the sockets named, however few are ready; and the caller must then search the answer.

**What the program waits in.** select, and nowhere else; sockets are non-blocking since readiness is a hint.

**What it costs.** Beside select: one recv and one send an exchange. Python builds the lists anew at every call.

**Where it breaks.** A bitmap (fd_set) has FD_SETSIZE = 1024 bits, fixed when the C library was built: descriptor 1024
does not fit, whatever RLIMIT_NOFILE allows. In C, FD_SET beyond it writes past the array: a silent memory error.
Python refuses with ValueError. This server closes such a connection at once, counts it (`refused`), and says so; so
somewhat fewer than 1024 clients are its end.

select(2), select_tut(2).
"""

from __future__ import annotations

import select
import socket
import time

from lab.inside import lifecycle
from lab.inside.servers.conversation import Conversation
from lab.inside.servers.startup import ENDED, Server, run

FD_SETSIZE = 1024
"""Bits in an fd_set: descriptors 0 to 1023."""


class Client:
    """One connection: its socket, its unfinished message, and what it has still to take."""

    __slots__ = ("conversation", "socket", "unsent")

    def __init__(self, connection: socket.socket, conversation: Conversation) -> None:
        self.socket = connection
        self.conversation = conversation
        self.unsent = b""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    SelectServer(server, listener).loop()


class SelectServer:
    """The listener and every connection accepted from it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.listener = listener
        self.listener.setblocking(False)
        self.listening = True
        self.accepting = True
        self.told_of_ceiling = False
        self.clients: dict[int, Client] = {}
        self.slow: set[int] = set()
        """Descriptors of those with something unsent: asked for room, and not read from meanwhile."""

    def loop(self) -> None:
        """Wait, and do what is ready, until the stop has come and every connection has ended."""
        wakeup_fd, listener_fd = self.server.signals.wakeup_fd, self.listener.fileno()
        while self.listening or self.clients:
            to_read = [wakeup_fd, *(fd for fd in self.clients if fd not in self.slow)]
            if self.listening and self.accepting:
                to_read.append(listener_fd)
            readable, writable, _ = select.select(to_read, list(self.slow), [])
            for fd in readable:
                if fd == listener_fd and self.listening:
                    self.accept()
                elif fd == wakeup_fd:
                    self.signalled()
                elif fd in self.clients:
                    self.receive(self.clients[fd])
            for fd in writable:
                if fd in self.clients:
                    self.send(self.clients[fd], b"")

    def accept(self) -> None:
        """Take every connection that waits."""
        while True:
            try:
                connection, _address = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.server.accept_failed(error)
                self.accepting = False  # asked again when a descriptor has come back, or half a second has passed
                return
            self.server.admit(connection)
            if connection.fileno() >= FD_SETSIZE:
                self.refuse(connection)
                continue
            connection.setblocking(False)
            self.clients[connection.fileno()] = Client(connection, self.server.conversation(connection))

    def refuse(self, connection: socket.socket) -> None:
        """Send away a connection whose descriptor select cannot name."""
        if not self.told_of_ceiling:
            self.told_of_ceiling = True
            lifecycle.say(
                f"select: descriptor {connection.fileno()} does not fit an fd_set, which ends at {FD_SETSIZE - 1}; "
                f"with {len(self.clients)} connections open, this and all further ones are closed at once"
            )
        connection.close()
        self.server.count.refused += 1
        self.server.count.closed += 1

    def receive(self, client: Client) -> None:
        """One recv, as select promised; answer what became whole."""
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
        fd = client.socket.fileno()
        if fd < 0:
            return  # it broke at an earlier piece
        client.unsent += piece
        if piece and fd in self.slow:
            return  # there was no room before; select will tell
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
        if client.unsent:
            self.slow.add(fd)
        else:
            self.slow.discard(fd)

    def close(self, client: Client) -> None:
        """Forget a connection; with its descriptor back, accept may work again."""
        fd = client.socket.fileno()
        if fd < 0:
            return
        del self.clients[fd]
        self.slow.discard(fd)
        client.socket.close()
        self.server.count.closed += 1
        self.accepting = True

    def signalled(self) -> None:
        """A signal came: if it was the stop, accept what is queued, listen no more, let every stream come to its
        end."""
        self.server.signals.clear_wakeup()
        self.accepting = True
        if self.server.stopping and self.listening:
            self.accept()
            self.listener.close()
            self.listening = False
            self.server.end_input()


if __name__ == "__main__":
    run("select", serve)
