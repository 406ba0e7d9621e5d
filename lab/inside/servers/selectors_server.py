"""The standard library's `selectors`: readiness with callbacks, over the best multiplexer the system has.

**What it is.** One interface over epoll (Linux), kqueue (BSD, macOS), /dev/poll and select. `register(socket, events,
data)` keeps any object beside a socket; `select()` gives back the keys that are ready, and we keep a function there:
that is an event loop in five lines, and asyncio's loop is this very thing with timers and coroutines on top.

**What the kernel does and the program waits in.** On Linux epoll_wait(2), level-triggered: read `epoll_server.py`.

**What it costs.** Per event a `SelectorKey` looked up and a tuple built, per `modify` an epoll_ctl(2), per connection
a socket object, a key and here a bound method: a few kilobytes of Python objects for each idle client, and a loop
about half as fast as one on raw descriptors.

**Where it breaks.** As epoll does: one thread, one core; descriptors.

selectors in the Python library reference; epoll(7).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE

from lab.inside.servers.startup import ENDED, Server, run

Callback = Callable[[], None]


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    Loop(server, listener).run()


class Loop:
    """The selector, with a function to call beside every socket in it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.listener = listener
        self.listener.setblocking(False)
        self.listening = True
        self.accepting = True
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, EVENT_READ, self.accept)
        self.selector.register(server.signals.wakeup_fd, EVENT_READ, self.signalled)

    def run(self) -> None:
        """Wait, and call back, until the stop has come and every connection has ended."""
        while self.listening or self.server.count.open:
            for key, _events in self.selector.select():
                callback: Callback = key.data
                callback()

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
                    self.selector.unregister(self.listener)
                return
            self.server.admit(connection)
            connection.setblocking(False)
            client = Client(self, connection)
            self.selector.register(connection, EVENT_READ, client.receive)

    def ended(self) -> None:
        """A connection was closed; with its descriptor back, accept may work again."""
        self.server.count.closed += 1
        self.resume_accepting()

    def resume_accepting(self) -> None:
        """Ask for the listener again: a descriptor has come back, or half a second has passed."""
        if not self.accepting and self.listening:
            self.accepting = True
            self.selector.register(self.listener, EVENT_READ, self.accept)

    def signalled(self) -> None:
        """A signal came: if it was the stop, accept what is queued, listen no more, let every stream come to its
        end."""
        self.server.signals.clear_wakeup()
        if self.server.stopping and self.listening:
            self.accept()
            if self.accepting:
                self.selector.unregister(self.listener)
            self.listener.close()
            self.listening = False
            self.server.end_input()
        self.resume_accepting()


class Client:
    """One connection, whose methods the loop calls."""

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self.loop = loop
        self.server = loop.server
        self.socket = connection
        self.conversation = loop.server.conversation(connection)
        self.unsent = b""

    def receive(self) -> None:
        """Readable: one recv; answer what became whole."""
        try:
            data = self.socket.recv(self.server.settings.recv_size)
            if not data:  # the client's FIN; all it sent before that has been answered
                self.close()
                return
            for piece in self.conversation.respond(data):
                if self.server.service.pause_s:
                    time.sleep(self.server.service.pause_s)  # and everybody waits: the price of one thread
                waiting = bool(self.unsent)
                self.unsent += piece
                if not waiting:
                    self.send()
            if self.unsent:  # no room: read no more from a peer that does not read, until there is
                self.loop.selector.modify(self.socket, EVENT_WRITE, self.send_rest)
        except BlockingIOError:
            return
        except ENDED as error:
            self.server.ended(error)
            self.close()

    def send(self) -> None:
        """Send what the send buffer takes; the rest stays in `unsent`."""
        try:
            sent = self.socket.send(self.unsent)
        except BlockingIOError:
            return
        self.server.count.bytes_out += sent
        self.unsent = self.unsent[sent:]

    def send_rest(self) -> None:
        """Writable: go on sending; once all is gone, read again."""
        try:
            self.send()
        except OSError as error:
            self.server.ended(error)
            self.close()
            return
        if not self.unsent:
            self.loop.selector.modify(self.socket, EVENT_READ, self.receive)

    def close(self) -> None:
        self.loop.selector.unregister(self.socket)
        self.socket.close()
        self.loop.ended()


if __name__ == "__main__":
    run("selectors", serve)
