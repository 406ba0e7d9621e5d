"""The UDP server on asyncio: a callback a datagram.

**What the kernel does.** As in `udp_server.py`.

**What the program waits in.** asyncio's loop in epoll_wait. When the socket is readable the loop calls recvfrom
*once* (into 256 KiB, so nothing is ever truncated) and hands the datagram to `datagram_received`; the next one waits
for the next turn of the loop. So each datagram costs an epoll_wait too: UDP is where asyncio is dearest, compared
with a plain loop.

**Sending.** `transport.sendto` tries at once and keeps in memory what finds no room. A datagram transport cannot be
told to receive no more meanwhile, so there is no back-pressure here: what is kept grows with the burst.

**Where it breaks.** As all event loops; and at high datagram rates before the others.

asyncio in the Python library reference, "Datagram Protocols"; udp(7).
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from lab.inside.servers.startup import Server, readable, run
from lab.inside.servers.udp_common import read_dropped


def serve(server: Server, sock: socket.socket) -> None:
    """Run an asyncio loop until the stop and the receive buffer's end."""
    asyncio.run(main(server, sock))


async def main(server: Server, sock: socket.socket) -> None:
    """Let the loop call one protocol object for every datagram."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(server.signals.wakeup_fd, server.signals.clear_wakeup)
    transport, protocol = await loop.create_datagram_endpoint(lambda: Datagrams(server), sock=sock)
    server.when_stopping(lambda: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    while not server.cut and (readable(sock) or protocol.pausing):
        await asyncio.sleep(0.001)  # the loop receives what is left
    server.count.dropped = read_dropped(sock)
    transport.close()


class Datagrams(asyncio.DatagramProtocol):
    """All clients: a datagram protocol is one object a socket."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.DatagramTransport
        self.pausing = 0
        """Answers that wait for the handler's pause."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """One datagram; answer it, now or after the handler's pause."""
        for number, piece in enumerate(self.server.service.answer_datagram(data, self.server.count), start=1):
            if self.server.service.pause_s:
                self.pausing += 1
                asyncio.get_running_loop().call_later(
                    number * self.server.service.pause_s, self.pause_over, piece, addr
                )
            else:
                self.send(piece, addr)

    def pause_over(self, piece: bytes, addr: Any) -> None:
        self.pausing -= 1
        self.send(piece, addr)

    def send(self, piece: bytes, addr: Any) -> None:
        self.transport.sendto(piece, addr)
        self.server.count.bytes_out += len(piece)

    def error_received(self, exc: Exception) -> None:
        """A send failed (EMSGSIZE), told by a callback since `sendto` cannot."""
        self.server.count.send_errors += 1


if __name__ == "__main__":
    run("udp-asyncio", serve)
