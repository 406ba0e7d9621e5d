"""The epoll server, edge-triggered: told once of every change, so every socket is worked until it says EAGAIN.

**What the kernel does.** As in `epoll_server.py` a callback puts a socket on the ready list when something happens to
it. Level-triggered, epoll_wait puts it back on the list after reporting it, to look again next time. With EPOLLET it
does not: the socket is reported again only when something *new* arrives. Half-read data is silence.

**What the program must do.** Read until EAGAIN (or until what is left is remembered, as below), accept until EAGAIN,
write until EAGAIN. Forget it once and a connection hangs until its peer happens to send again. In return interest in
reading and writing is stated once, at the start (EPOLLIN | EPOLLOUT | EPOLLET), and epoll_ctl is never called again.

**What it costs.** One system call more for each message: the recv that says EAGAIN. It is saved where a recv brought
less than it could have, since the rest then is a new edge. Edge triggering saves wake-ups where many threads share
one epoll object, not here; level-triggered is the better default.

**Where it breaks.** A peer that sends faster than we read would keep us at its socket for ever: after RECVS_IN_A_ROW
we go on to the others and come back, with the socket on a list of our own, since the kernel will not remind us. The
same for a peer whose answers found no room, once there is room again; and for the listener when descriptors ran out.

epoll(7), "Level-triggered and edge-triggered" and the questions at its end.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP

from lab.inside.servers.startup import ENDED, Server, run

RECVS_IN_A_ROW = 16
"""Recvs for one connection before the others get their turn."""
EVENTS_BATCH = 512
"""Most events one epoll_wait reports."""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    EdgeServer(server, listener).loop()


class EdgeServer:
    """One epoll object, the listener in it, and every connection accepted from it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.count = server.count
        self.conversations = server.conversations()
        self.unsent: dict[int, bytes] = {}
        """What a connection has still to take: only of those few whose peer reads slowly."""
        self.unread: dict[int, None] = {}
        """Descriptors that may hold more, which nobody but us remembers; in the order they are due."""
        self.starved = False
        """The accept queue may hold more, but descriptors ran out."""
        self.listener = listener
        self.listener.setblocking(False)
        self.listening = True
        self.tap = server.tap
        self.read: Callable[[int, int], bytes] = self.tap.read if self.tap else os.read
        self.write: Callable[[int, bytes], int] = self.tap.write if self.tap else os.write
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), EPOLLIN | EPOLLET)
        self.epoll.register(server.signals.wakeup_fd, EPOLLIN)

    def loop(self) -> None:
        """Wait, and do what is new, until the stop has come and every connection has ended."""
        special = {self.listener.fileno(): self.accept, self.server.signals.wakeup_fd: self.signalled}
        while self.listening or self.count.open:
            # With something unread we only look, and do not wait.
            for descriptor, events in self.epoll.poll(0 if self.unread else -1, EVENTS_BATCH):
                if descriptor in special:
                    special[descriptor]()
                    continue
                if descriptor in self.unsent and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
                    self.send_rest(descriptor)
                elif events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP):
                    self.unread[descriptor] = None
            for descriptor in list(self.unread):
                del self.unread[descriptor]
                self.receive_all(descriptor)

    def accept(self) -> None:
        """Take connections until there is none: the listener, too, speaks only once."""
        while True:
            try:
                connection, _address = self.listener.accept()
            except BlockingIOError:
                self.starved = False
                return
            except OSError as error:
                self.server.accept_failed(error)
                self.starved = True
                return
            connection.setblocking(False)
            descriptor = connection.detach()
            # All interest at once. A new socket is writable: that edge is reported first, and means nothing to us.
            self.epoll.register(descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
            self.count.opened()

    def receive_all(self, descriptor: int) -> None:
        """Read until there is no more, or the others' turn has come, or the peer does not take its answers."""
        recv_size = self.server.settings.recv_size
        try:
            for _ in range(RECVS_IN_A_ROW):
                if descriptor in self.unsent:
                    return  # not read from until it reads; `send_rest` takes up reading again
                data = self.read(descriptor, recv_size)
                if not data:  # the peer's FIN; all it sent before that has been answered
                    self.close(descriptor)
                    return
                self.answer(descriptor, data)
        except BlockingIOError:
            return  # empty: from here on, news will be reported
        except ENDED as error:
            self.server.ended(error)
            self.close(descriptor)
            return
        self.unread[descriptor] = None

    def answer(self, descriptor: int, data: bytes) -> None:
        """Send the answers to what was received, as far as there is room."""
        for piece in self.conversations.respond(descriptor, data):
            if self.server.service.pause_s:
                time.sleep(self.server.service.pause_s)  # and everybody waits: the price of one thread
            if descriptor in self.unsent:
                self.unsent[descriptor] += piece
                continue
            try:
                sent = self.write(descriptor, piece)
            except BlockingIOError:
                sent = 0
            self.count.bytes_out += sent
            if sent != len(piece):
                self.unsent[descriptor] = piece[sent:]

    def send_rest(self, descriptor: int) -> None:
        """There is room again: write until EAGAIN, or until all is gone; then read what came meanwhile."""
        try:
            while rest := self.unsent[descriptor]:
                sent = self.write(descriptor, rest)
                self.count.bytes_out += sent
                self.unsent[descriptor] = rest[sent:]
        except BlockingIOError:
            return
        except OSError as error:
            self.server.ended(error)
            self.close(descriptor)
            return
        del self.unsent[descriptor]
        self.unread[descriptor] = None

    def close(self, descriptor: int) -> None:
        """Close; with the descriptor back, ask the accept queue again if it was left with something in it."""
        self.unsent.pop(descriptor, None)
        self.unread.pop(descriptor, None)
        self.conversations.forget(descriptor)
        if self.tap:
            self.tap.forget(descriptor)
        os.close(descriptor)
        self.count.closed += 1
        if self.starved and self.listening:
            self.accept()

    def signalled(self) -> None:
        """A signal came: if it was the stop, accept what is queued, listen no more, let every stream come to its
        end."""
        self.server.signals.clear_wakeup()
        if self.server.stopping and self.listening:
            self.accept()
            self.listener.close()
            self.listening = False
            self.server.end_input()
        elif self.starved and self.listening:
            self.accept()


if __name__ == "__main__":
    run("epoll-edge", serve)
