"""The UDP server on epoll: wait for readiness, then receive until the buffer is empty.

**Why.** One socket serves all UDP clients, so a multiplexer finds nothing to choose from: epoll pays where several
sockets, timers or signals must be waited for at once. Here these are the socket and the stop. What it changes is the
rhythm: one epoll_wait, then as many recvmsg as there are datagrams, so that a burst costs one wait.

**What the kernel does.** As in `udp_server.py`; the socket is readable as long as one datagram is queued.

**What the program waits in.** epoll_wait. Sending can find the send buffer full (EAGAIN); then the answer is kept,
EPOLLOUT asked for, and nothing received meanwhile: what comes now fills the receive buffer, and beyond that is
dropped. UDP has no other back-pressure.

**What it costs.** Two system calls a message, plus the recvmsg that says EAGAIN and the epoll_wait, both shared by
the burst.

udp(7), epoll(7), recvmmsg(2) (many datagrams with one call, which Python does not offer).
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from select import EPOLLIN, EPOLLOUT

from lab.inside.servers.startup import Server, run
from lab.inside.servers.udp_common import read_dropped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DATAGRAMS_IN_A_ROW = 256
"""Datagrams received before epoll is asked again."""


def serve(server: Server, sock: socket.socket) -> None:
    """Answer datagrams until the stop and the receive buffer's end."""
    sock.setblocking(False)
    unsent: deque[tuple[bytes, Any]] = deque()
    with select.epoll() as epoll:
        epoll.register(sock, EPOLLIN)
        epoll.register(server.signals.wakeup_fd, EPOLLIN)
        while True:
            stopping = server.stopping  # looked at before receiving, so that the last recv comes after the stop
            for descriptor, _events in epoll.poll(0 if stopping else -1):
                if descriptor == server.signals.wakeup_fd:
                    server.signals.clear_wakeup()
            if not unsent:
                empty = receive(server, sock, unsent)
            send(server, sock, unsent)
            epoll.modify(sock, EPOLLOUT if unsent else EPOLLIN)
            if stopping and empty and (not unsent or server.cut):
                break
    server.count.dropped = read_dropped(sock)


def receive(server: Server, sock: socket.socket, unsent: deque[tuple[bytes, Any]]) -> bool:
    """Receive what there is and queue the answers; True when the receive buffer is empty."""
    count = server.count
    for _ in range(DATAGRAMS_IN_A_ROW):
        try:
            data, _ancillary, flags, peer = sock.recvmsg(server.settings.recv_size)
        except BlockingIOError:
            return True
        if flags & socket.MSG_TRUNC:
            count.truncated += 1
        for piece in server.service.answer_datagram(data, count):
            if server.service.pause_s:
                time.sleep(server.service.pause_s)
            unsent.append((piece, peer))
            send(server, sock, unsent)
    return False


def send(server: Server, sock: socket.socket, unsent: deque[tuple[bytes, Any]]) -> None:
    """Send what is queued, as far as the send buffer takes it."""
    while unsent:
        piece, peer = unsent[0]
        try:
            server.count.bytes_out += sock.sendto(piece, peer)
        except BlockingIOError:
            return
        except OSError:
            server.count.send_errors += 1
        unsent.popleft()


if __name__ == "__main__":
    run("udp-epoll", serve)
