"""The epoll server, level-triggered: one thread, ten thousand connections, and the cost follows the few that speak.

**What the kernel does.** epoll_create1(2) makes an object that holds two collections. The *interest list* (a
red-black tree) names the sockets we care about; epoll_ctl(2) hangs a callback into each one's wait queue, once, when
the connection is added. When a segment arrives, the network stack runs that callback, which links the socket into the
*ready list*. epoll_wait(2) hands that list out. Nothing ever walks the idle connections: with select(2) and poll(2)
the whole list crosses into the kernel and back, and is searched, at every call.

**Level-triggered** means: a socket stays on the ready list as long as there is something to read. So one recv an
event is enough; what is left over is reported again. (Edge-triggered, `epoll_edge_server.py`, tells only of changes
and forces us to read until EAGAIN: one more system call for each message.)

**What the program waits in.** epoll_wait, and nowhere else. Sockets are non-blocking, because readiness is a hint:
between the report and our call the state may have changed, and one blocked call would stop everybody.

**Writing.** A socket is nearly always writable, so we do not ask: we send at once. Only when the peer reads slowly
and the send buffer is full (EAGAIN, or fewer bytes taken than given) do we keep the rest, stop reading that
connection (that is the back-pressure: its receive buffer fills, its window closes, its sender stops) and ask for
EPOLLOUT until the rest is gone. Asking for EPOLLOUT all the time would report every idle connection as ready, at once
and for ever.

**What it costs.** An exchange is one recv and one send, and a share of one epoll_wait (under load it reports many at
once). The loop receives from all that are ready before it answers any: with one kind of system call in a row, the code
for it, the kernel's and the interpreter's around it, is still in the processor's caches, and no bytecode need run
between two of them (`lab/inside/each.py`). In turn (recv, send, recv, send) each drives out the other's, and an answer
takes about a tenth more processor time (`benchmarks/TRIED.md`).
Connections are bare descriptors: `socket.detach()`, `os.read`, `os.write`. An idle one costs no Python object at all,
only the kernel's memory (socket, inode, file, epoll item: about 5 KB a side).

**Where it breaks.** One thread is one core: a handler that computes or sleeps keeps all others waiting. Descriptors
end at RLIMIT_NOFILE: accept then fails with EMFILE *and stays readable*, a classic busy loop; we take the listener
out of the interest list until a connection closes. More cores: `--workers N`, N processes whose SO_REUSEPORT sockets
the kernel deals connections to by the hash of their addresses.

epoll(7), epoll_ctl(2), epoll_wait(2), accept(2), tcp(7).
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from itertools import compress, repeat
from select import EPOLLIN, EPOLLOUT

from lab.inside.each import each
from lab.inside.servers.startup import ENDED, Server, run

ACCEPT_BATCH = 256
"""Connections taken in a row before those that are already open get their turn."""
EVENTS_BATCH = 128
"""Most events one epoll_wait reports, and so the most recvs before the first of their answers is sent."""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    EpollServer(server, listener).loop()


class EpollServer:
    """One epoll object, the listener in it, and every connection accepted from it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.count = server.count
        self.conversations = server.conversations()
        self.unsent: dict[int, bytes] = {}
        """What a connection has still to take: only of those few whose peer reads slowly."""
        self.listener = listener
        self.listener.setblocking(False)
        self.listening = True
        self.accepting = True
        """False while the process has no descriptor left for another connection."""
        self.tap = server.tap
        self.read: Callable[[int, int], bytes] = self.tap.read if self.tap else os.read
        self.write: Callable[[int, bytes], int] = self.tap.write if self.tap else os.write
        self.recv_sizes = repeat(server.settings.recv_size)
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), EPOLLIN)
        self.epoll.register(server.signals.wakeup_fd, EPOLLIN)

    def loop(self) -> None:
        """Wait, and do what is ready, until the stop has come and every connection has ended."""
        count, unsent, wait = self.count, self.unsent, self.epoll.poll
        answer = self.server.service.direct
        listener, wakeup = self.listener.fileno(), self.server.signals.wakeup_fd
        while self.listening or count.open:
            ready = [descriptor for descriptor, _events in wait(-1, EVENTS_BATCH)]
            if listener in ready:  # before the wakeup: a stop closes it
                self.accept()
                ready.remove(listener)
            if wakeup in ready:
                self.signalled()
                ready.remove(wakeup)
            if unsent and not unsent.keys().isdisjoint(ready):
                for descriptor in unsent.keys() & ready:
                    self.send_rest(descriptor)
                    ready.remove(descriptor)
            ready, received = self.receive(ready)
            if answer is not None:
                # The shortest way: one recv, one message, one answer, one send.
                count.messages += len(received)
                count.bytes_in += sum(map(len, received))
                self.send(ready, list(map(answer, received)))
            else:
                for descriptor, data in zip(ready, received, strict=True):
                    self.exchange(descriptor, data)

    def receive(self, ready: list[int]) -> tuple[list[int], list[bytes]]:
        """One recv on each; gives those where something came, and what."""
        received = each(map(self.read, ready, self.recv_sizes), ready, self.read_failed)
        if all(received):
            return ready, received
        for descriptor, data in zip(ready, received, strict=True):
            if data == b"":  # the peer's FIN; all it sent before that has been answered
                self.close(descriptor)
        return list(compress(ready, received)), list(filter(None, received))

    def send(self, descriptors: list[int], replies: list[bytes]) -> None:
        """One send on each, and for what the buffer would not take a wait for room."""
        sent = each(map(self.write, descriptors, replies), descriptors, self.write_failed)
        taken = sum(filter(None, sent))
        self.count.bytes_out += taken
        if taken != sum(map(len, replies)):
            for descriptor, reply, part in zip(descriptors, replies, sent, strict=True):
                if part is not None and part < len(reply):
                    self.wait_for_room(descriptor, reply[part:])

    def read_failed(self, descriptor: int, error: OSError) -> None:
        """Nothing was there to read after all, or the connection broke."""
        if not isinstance(error, BlockingIOError):
            self.broken(descriptor, error)

    def write_failed(self, descriptor: int, error: OSError) -> int | None:
        """The bytes sent, if the buffer had no room: 0; None if the connection broke."""
        if isinstance(error, BlockingIOError):
            return 0
        self.broken(descriptor, error)
        return None

    def accept(self) -> None:
        """Take connections off the accept queue: a batch, or at the stop all there are."""
        taken = 0
        while taken < ACCEPT_BATCH or self.server.stopping:
            try:
                connection, _address = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.server.accept_failed(error)
                self.pause_accepting()
                return
            connection.setblocking(False)
            descriptor = connection.detach()
            self.epoll.register(descriptor, EPOLLIN)
            self.count.opened()
            taken += 1

    def pause_accepting(self) -> None:
        """Stop asking about the listener, which stays readable."""
        if self.accepting:
            self.epoll.unregister(self.listener.fileno())
            self.accepting = False

    def resume_accepting(self) -> None:
        """Ask again: a connection has given its descriptor back, or half a second has passed."""
        if not self.accepting and self.listening:
            self.epoll.register(self.listener.fileno(), EPOLLIN)
            self.accepting = True

    def exchange(self, descriptor: int, data: bytes) -> None:
        """The long way: messages that are framed, cut or joined, several answers, pauses."""
        try:
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
                    self.wait_for_room(descriptor, piece[sent:])
        except ENDED as error:
            self.broken(descriptor, error)

    def wait_for_room(self, descriptor: int, rest: bytes) -> None:
        """Keep what the send buffer would not take, and stop reading from a peer that does not read."""
        self.unsent[descriptor] = rest
        self.epoll.modify(descriptor, EPOLLOUT)

    def send_rest(self, descriptor: int) -> None:
        """Send what was kept; once it is gone, read from this peer again."""
        rest = self.unsent[descriptor]
        try:
            sent = self.write(descriptor, rest)
        except BlockingIOError:
            return
        except OSError as error:
            self.broken(descriptor, error)
            return
        self.count.bytes_out += sent
        if sent == len(rest):
            del self.unsent[descriptor]
            self.epoll.modify(descriptor, EPOLLIN)
        else:
            self.unsent[descriptor] = rest[sent:]

    def broken(self, descriptor: int, error: Exception) -> None:
        """End a connection that the peer reset, or whose framing it broke."""
        self.server.ended(error)
        self.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Close: the kernel takes the descriptor out of the interest list by itself."""
        self.unsent.pop(descriptor, None)
        self.conversations.forget(descriptor)
        if self.tap:
            self.tap.forget(descriptor)
        os.close(descriptor)
        self.count.closed += 1
        if not self.accepting:
            self.resume_accepting()

    def signalled(self) -> None:
        """A signal came: if it was the stop, accept what is queued, listen no more, let every stream come to its
        end."""
        self.server.signals.clear_wakeup()
        if self.server.stopping and self.listening:
            self.accept()
            self.listener.close()
            self.listening = False
            self.server.end_input()
        self.resume_accepting()


if __name__ == "__main__":
    run("epoll", serve)
