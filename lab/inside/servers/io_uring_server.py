"""The io_uring server: completion instead of readiness. Operations are ordered in advance; the kernel reports what it
has done.

**What the kernel does.** With epoll the kernel says "you could read now" and the program makes the call. With
io_uring the program says once "receive on this connection whenever something comes", and the kernel puts the *result*
into a ring in shared memory (`io_uring_ring.py` shows the rings). Inside, the request hangs on the socket's wait
queue and the receive is done when it wakes.

**Multishot.** One accept request yields a completion for every connection; one receive request a connection yields
one for every arrival (flag MORE on all but the last). The data lies in buffers that the program provided for all
connections together.

**What the program waits in.** io_uring_enter(2): it hands over all new requests and waits for completions, in one
system call. So a batch of messages costs one system call for all its sends together with the wait, where epoll needs
two a message and one for the wait.

**What it costs.** State. A buffer given to a send must stay untouched until its completion; a descriptor may be
closed only when no request holds it; a request that is no longer wanted must be cancelled, and its last completion
awaited. And in Python the rings are packed and unpacked entry by entry, which costs more than the system calls it
saves.

**Back-pressure.** A multishot receive goes on whether we can answer or not: above UNSENT_LIMIT it is cancelled, and
asked for again when the peer has taken its answers.

**Where it breaks.** Not everywhere: Docker's default seccomp profile refuses io_uring_setup, some kernels forbid it
(kernel.io_uring_disabled). Multishot receive needs Linux 6.0, the task mode used here 6.1. This is probed before the
server says it is ready.

io_uring(7), io_uring_enter(2), io_uring_prep_recv_multishot(3), io_uring_prep_multishot_accept(3).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import time
from collections import deque

from lab.inside.framing import FramingError
from lab.inside.servers.conversation import Conversation
from lab.inside.servers.io_uring_ring import (
    ACCEPT_MULTISHOT,
    BUFFER_SELECT,
    CQE_MORE,
    OP_ACCEPT,
    OP_ASYNC_CANCEL,
    OP_POLL_ADD,
    OP_RECV,
    OP_SEND,
    POLL_MULTISHOT,
    RECV_MULTISHOT,
    ProvidedBuffers,
    Ring,
)
from lab.inside.servers.options import lacks
from lab.inside.servers.startup import Server, run

RING_ENTRIES = 1024
BUFFERS_BYTES = 8 * 1024 * 1024
"""Memory provided for receives, all connections together."""
UNSENT_LIMIT = 256 * 1024
"""Bytes of answers kept for one connection before it is read from no more."""

# The upper half of user_data says what a completion is about, the lower half on which descriptor. A descriptor is
# closed only after the last completion of its requests, so the number never stands for two connections.
ACCEPT, SIGNAL, RECV, SEND, CANCEL = (kind << 32 for kind in range(1, 6))
DESCRIPTOR = 0xFFFFFFFF


class Client:
    """One connection: what is asked of the kernel for it, and what is still to be asked."""

    __slots__ = ("conversation", "ending", "receiving", "sending", "unsent", "unsent_bytes")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.receiving = False
        """A receive request is out."""
        self.sending: bytes | None = None
        """What the send request that is out shall send: kept here, since the kernel reads it from our memory."""
        self.unsent: deque[bytes] = deque()
        self.unsent_bytes = 0
        self.ending = False
        """Close it when all requests have come back and all answers are sent."""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    UringServer(server, listener).loop()


class UringServer:
    """One ring, and every connection accepted through it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.count = server.count
        self.listener = listener
        self.listener_fd = listener.fileno()
        self.clients: dict[int, Client] = {}
        self.ring = Ring(RING_ENTRIES)
        size = server.settings.recv_size
        buffers = max(16, min(4096, 1 << (BUFFERS_BYTES // size).bit_length() - 1))
        self.buffers = ProvidedBuffers(self.ring, buffers, size)
        self.accepting = False
        self.ask_for_connections()
        self.ring.put(
            OP_POLL_ADD,
            server.signals.wakeup_fd,
            SIGNAL,
            length=POLL_MULTISHOT,
            operation_flags=select.POLLIN,
        )

    def loop(self) -> None:
        """Wait for completions, and deal with them, until the stop has come and every connection has ended."""
        while self.accepting or self.clients or not self.server.stopping:
            self.ring.submit(wait=1)
            for user_data, result, flags in self.ring.completions():
                kind, descriptor = user_data & ~DESCRIPTOR, user_data & DESCRIPTOR
                if kind == RECV:
                    self.received(descriptor, result, flags)
                elif kind == SEND:
                    self.sent(descriptor, result)
                elif kind == ACCEPT:
                    self.accepted(result, flags)
                elif kind == SIGNAL:
                    self.signalled()
        self.listener.close()

    def ask_for_connections(self) -> None:
        """One request for all connections to come."""
        if not self.accepting and not self.server.stopping:
            self.accepting = True
            self.ring.put(
                OP_ACCEPT, self.listener_fd, ACCEPT, ioprio=ACCEPT_MULTISHOT, operation_flags=socket.SOCK_CLOEXEC
            )

    def accepted(self, result: int, flags: int) -> None:
        """A connection, or why there is none."""
        self.accepting = bool(flags & CQE_MORE)
        if result >= 0:
            self.count.opened()
            self.clients[result] = Client(self.server.conversation())
            self.ask_for_data(result)
            if self.server.stopping:
                self.server.end_input()
        elif -result != errno.ECANCELED:
            # Asked again when a descriptor has come back, or half a second has passed.
            self.server.accept_failed(OSError(-result, os.strerror(-result)))
            return
        self.ask_for_connections()

    def ask_for_data(self, descriptor: int) -> None:
        """One request for all that this connection will bring."""
        self.clients[descriptor].receiving = True
        self.ring.put(OP_RECV, descriptor, RECV | descriptor, ioprio=RECV_MULTISHOT, flags=BUFFER_SELECT)

    def ask_for_no_more(self, user_data: int) -> None:
        """Cancel a request; its last completion will say so."""
        self.ring.put(OP_ASYNC_CANCEL, -1, CANCEL, address=user_data)

    def received(self, descriptor: int, result: int, flags: int) -> None:
        """Data, the end of the stream (0), or an error."""
        client = self.clients[descriptor]
        client.receiving = bool(flags & CQE_MORE)
        if result > 0:
            self.answer(descriptor, client, self.buffers.take(flags, result))
        elif result == 0:
            client.ending = True  # the peer's FIN
        elif -result not in (errno.ENOBUFS, errno.ECANCELED):  # all buffers in use for a moment; or cancelled by us
            self.broken(client, OSError(-result, os.strerror(-result)))
        self.go_on(descriptor, client)

    def answer(self, descriptor: int, client: Client, data: bytes) -> None:
        """Queue the answers to what was received."""
        try:
            for piece in client.conversation.respond(data):
                if self.server.service.pause_s:
                    time.sleep(self.server.service.pause_s)  # and everybody waits: the price of one thread
                client.unsent.append(piece)
                client.unsent_bytes += len(piece)
        except FramingError as error:
            self.server.ended(error)
            client.ending = True

    def sent(self, descriptor: int, result: int) -> None:
        """So many bytes were sent, or why not."""
        client = self.clients[descriptor]
        assert client.sending is not None
        rest, client.sending = client.sending[max(result, 0) :], None
        if result < 0:
            self.broken(client, OSError(-result, os.strerror(-result)))
        else:
            self.count.bytes_out += result
            client.unsent_bytes -= result
            if rest:
                client.unsent.appendleft(rest)
        self.go_on(descriptor, client)

    def broken(self, client: Client, error: OSError) -> None:
        """The connection was reset: nothing more can be sent."""
        if not client.ending or client.unsent:
            self.server.ended(error)
        client.unsent.clear()
        client.unsent_bytes = 0
        client.ending = True

    def go_on(self, descriptor: int, client: Client) -> None:
        """Ask for what is due next on a connection, or close it."""
        if client.unsent and client.sending is None:
            client.sending = client.unsent.popleft()
            # WAITALL: the kernel goes on until all is sent, and tells once.
            self.ring.put(
                OP_SEND,
                descriptor,
                SEND | descriptor,
                address=address_of_bytes(client.sending),
                length=len(client.sending),
                operation_flags=socket.MSG_WAITALL | socket.MSG_NOSIGNAL,
            )
        full = client.unsent_bytes > UNSENT_LIMIT
        if client.receiving and (full or client.ending):
            self.ask_for_no_more(RECV | descriptor)
        elif not client.receiving and not full and not client.ending:
            self.ask_for_data(descriptor)
        elif client.ending and not client.receiving and client.sending is None:
            del self.clients[descriptor]
            os.close(descriptor)
            self.count.closed += 1
            self.ask_for_connections()

    def signalled(self) -> None:
        """A signal came. If the stop: accept no more (the queue is empty: all were taken as they came), end every
        input."""
        self.server.signals.clear_wakeup()
        self.ask_for_connections()
        if self.server.stopping and self.accepting:
            self.ask_for_no_more(ACCEPT)
        if self.server.stopping:
            self.server.end_input()


def address_of_bytes(data: bytes) -> int:
    """Where the contents of a bytes object lie; they stay there as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def probe() -> None:
    """End the process with 3 unless this kernel does what the server needs: tried on a pair of sockets."""
    hint = (
        "use the model epoll; or allow io_uring: a seccomp profile with io_uring_*, sysctl kernel.io_uring_disabled=0"
    )
    try:
        ring = Ring(8)
        buffers = ProvidedBuffers(ring, 2, 4096)  # kept: the kernel writes there
        here, there = socket.socketpair()
        with here, there:
            there.send(b"?")
            ring.put(OP_RECV, here.fileno(), RECV, ioprio=RECV_MULTISHOT, flags=BUFFER_SELECT)
            ring.submit(wait=1)
            result = next(ring.completions())[1]
        os.close(ring.descriptor)
        del buffers
    except OSError as error:
        lacks("io-uring", f"the kernel refuses io_uring: {error}", hint)
    if result != 1:
        lacks("io-uring", f"the kernel has no multishot receive: {os.strerror(-result)}; Linux 6.1 is needed", hint)


if __name__ == "__main__":
    run("io-uring", serve, probe=probe)
