"""The signal-driven server: the kernel queues a realtime signal for every event, until the queue overflows.

**What the kernel does.** With O_ASYNC on a socket and an owner set (F_SETOWN) the kernel raises a signal whenever
something happens to it. The classic SIGIO carries nothing, and one pending SIGIO hides all further ones. With
F_SETSIG it is a *realtime* signal instead: those queue up, one entry an event, and each brings the descriptor (si_fd)
and what happened (si_band).

**What the program waits in.** sigwaitinfo(2), with the signals blocked, so that they are taken off the queue like
messages and no handler runs between two lines of code. One event at a time: one system call each.

**Edge-triggered.** A signal tells of a change, once. So every socket is read until EAGAIN; and what was there before
O_ASYNC was set tells nothing, so each new connection is tried once by hand. Signals of a connection that was closed
may still be in the queue, under a number that now belongs to another: they can only be taken as hints.

**Where it breaks.** The queue is bounded (RLIMIT_SIGPENDING, shared by all processes of the user). When it is full
the kernel sends a plain SIGIO and *forgets the events*. Then only poll(2) over all sockets tells where things stand:
so whoever wants this must write a poll server besides. Events are not merged: a socket that gets ten segments costs
ten signals. It is here because it was Linux's fast way before epoll (2002), and why it is not any more.

fcntl(2) on F_SETSIG, F_SETOWN, O_ASYNC; sigwaitinfo(2); signal(7) "Real-time signals"; socket(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import time
from select import POLLIN, POLLOUT

from lab.inside.servers.conversation import Conversation
from lab.inside.servers.startup import ENDED, Server, run

EVENT = signal.SIGRTMIN + 4
"""The realtime signal that carries events (the first two or three belong to the C library's threads)."""
OVERFLOW = signal.SIGIO
"""What the kernel sends instead when the queue is full."""
QUEUE = 1024
"""Signals that may wait: what kernels allowed in this model's day (/proc/sys/kernel/rtsig-max), and few enough to be
seen overflowing; today's default is a share of the machine's memory."""
RECVS_IN_A_ROW = 16
"""Recvs for one connection before the others get their turn."""


class SigInfo(ctypes.Structure):
    """siginfo_t as the kernel fills it for POLL events, on 64-bit Linux (sigaction(2)); Python's own leaves si_fd
    out."""

    _fields_ = (
        ("si_signo", ctypes.c_int),
        ("si_errno", ctypes.c_int),
        ("si_code", ctypes.c_int),
        ("si_band", ctypes.c_long),
        ("si_fd", ctypes.c_int),
        ("rest", ctypes.c_char * 96),
    )


class Client:
    """One connection: its socket, its unfinished message, and what it has still to take."""

    __slots__ = ("conversation", "socket", "unsent")

    def __init__(self, connection: socket.socket, conversation: Conversation) -> None:
        self.socket = connection
        self.conversation = conversation
        self.unsent = b""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    _, most = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (QUEUE if most < 0 else min(QUEUE, most), most))
    # Blocked: kept in the queue until they are asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, {EVENT, OVERFLOW})
    SignalServer(server, listener).loop()


class SignalServer:
    """The listener and every connection accepted from it, each with O_ASYNC set."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.listener = listener
        self.listening = True
        self.starved = False
        """The accept queue may hold more, but descriptors ran out."""
        self.clients: dict[int, Client] = {}
        self.unread: dict[int, None] = {}
        """Descriptors that may hold more, of which no signal will tell; in the order they are due."""
        server.extra["queue_overflows"] = 0
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.info = SigInfo()
        self.awaited = (ctypes.c_ulong * 16)()  # sigset_t: 1024 bits, bit n-1 for signal n
        for number in (EVENT, OVERFLOW):
            self.awaited[(number - 1) // 64] |= 1 << (number - 1) % 64
        self.arm(listener)

    def arm(self, sock: socket.socket) -> None:
        """Ask for a signal with every change of this socket."""
        descriptor = sock.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, EVENT)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

    def loop(self) -> None:
        """Take signals off the queue until the stop has come and every connection has ended."""
        self.accept()  # what came before the listener was armed told nothing
        while self.listening or self.clients:
            number = self.take_signal(wait=not self.unread)
            if number == EVENT:
                self.event(self.info.si_fd)
            elif number == OVERFLOW:
                self.overflowed()
            else:
                self.interrupted()
            for descriptor in list(self.unread):
                del self.unread[descriptor]
                if descriptor in self.clients:
                    self.receive_all(self.clients[descriptor])

    def take_signal(self, *, wait: bool) -> int:
        """Take the next signal off the queue, into `info`; 0 if there is none, or another signal's handler ran
        instead."""
        if wait:
            number = self.libc.sigwaitinfo(ctypes.byref(self.awaited), ctypes.byref(self.info))
        else:
            nothing = (ctypes.c_long * 2)(0, 0)
            number = self.libc.sigtimedwait(ctypes.byref(self.awaited), ctypes.byref(self.info), ctypes.byref(nothing))
        if number < 0 and ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):
            raise OSError(ctypes.get_errno(), "sigwaitinfo")
        return max(int(number), 0)

    def event(self, descriptor: int) -> None:
        """Something happened to a socket; that it was this one and what is only a hint, so both ways are tried."""
        if self.listening and descriptor == self.listener.fileno():
            self.accept()
        elif descriptor in self.clients:
            client = self.clients[descriptor]
            if client.unsent:
                self.send(client)
            if not client.unsent and descriptor in self.clients:
                self.unread[descriptor] = None

    def overflowed(self) -> None:
        """Events were lost: empty the queue, and ask poll(2) how every socket stands."""
        self.server.extra["queue_overflows"] += 1
        while self.take_signal(wait=False):
            pass
        poll = select.poll()
        for descriptor in [self.listener.fileno()] * self.listening + list(self.clients):
            poll.register(descriptor, POLLIN | POLLOUT)
        for descriptor, _events in poll.poll(0):
            self.event(descriptor)

    def accept(self) -> None:
        """Take connections until there is none."""
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
            self.server.admit(connection)
            self.arm(connection)
            client = Client(connection, self.server.conversation(connection))
            self.clients[connection.fileno()] = client
            self.unread[connection.fileno()] = None  # what arrived before it was armed told nothing

    def receive_all(self, client: Client) -> None:
        """Read until there is no more, or the others' turn has come, or the peer does not take its answers."""
        try:
            for _ in range(RECVS_IN_A_ROW):
                if client.unsent:
                    return  # not read from until it reads
                data = client.socket.recv(self.server.settings.recv_size)
                if not data:  # the client's FIN; all it sent before that has been answered
                    self.close(client)
                    return
                for piece in client.conversation.respond(data):
                    if self.server.service.pause_s:
                        time.sleep(self.server.service.pause_s)  # and everybody waits: the price of one thread
                    was_waiting = bool(client.unsent)
                    client.unsent += piece
                    if not was_waiting and not self.send(client):
                        return
        except BlockingIOError:
            return  # empty: from here on, news will be signalled
        except ENDED as error:
            self.server.ended(error)
            self.close(client)
            return
        self.unread[client.socket.fileno()] = None

    def send(self, client: Client) -> bool:
        """Send until all is gone or there is no room; False if the connection ended."""
        try:
            while client.unsent:
                sent = client.socket.send(client.unsent)
                self.server.count.bytes_out += sent
                client.unsent = client.unsent[sent:]
        except BlockingIOError:
            return True
        except OSError as error:
            self.server.ended(error)
            self.close(client)
            return False
        return True

    def close(self, client: Client) -> None:
        """Forget a connection; with its descriptor back, accept may work again."""
        self.unread.pop(client.socket.fileno(), None)
        del self.clients[client.socket.fileno()]
        client.socket.close()
        self.server.count.closed += 1
        if self.starved and self.listening:
            self.accept()

    def interrupted(self) -> None:
        """Another signal's handler ran. If the stop: accept what is queued, listen no more, let every stream come to
        its end."""
        self.server.signals.clear_wakeup()
        if self.server.stopping and self.listening:
            self.accept()
            self.listener.close()
            self.listening = False
            self.server.end_input()
            self.unread |= dict.fromkeys(self.clients)  # an end of input that we set ourselves raises no signal
        elif self.starved and self.listening:
            self.accept()


if __name__ == "__main__":
    run("signal-driven", serve)
