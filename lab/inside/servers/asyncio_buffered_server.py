"""asyncio with a buffered protocol: the loop receives into memory of ours, and allocates nothing.

**What the kernel does.** epoll as before, but data is received with recv_into: straight into the buffer we name,
instead of into a new bytes object.

**Why.** `asyncio.Protocol` gets a fresh 256 KiB object for every recv, cut to size afterwards. Above glibc's mmap
threshold (128 KiB at the start) each such object is mapped and unmapped: two system calls and page faults for 64
bytes of data. A `BufferedProtocol` says where to put the bytes (`get_buffer`) and is told how many came
(`buffer_updated`).

**How.** One buffer serves all connections: the loop calls `get_buffer`, recv_into and `buffer_updated` back to back,
so nobody else can come between. What must outlive the callback (a message) is copied out of it.

**What the program waits in, back-pressure, where it breaks.** As `asyncio_protocol_server.py`, whose sending half
this is.

asyncio in the Python library reference, "Buffered Streaming Protocols".
"""

from __future__ import annotations

import asyncio
import socket

from lab.inside.servers.asyncio_protocol_server import Client
from lab.inside.servers.asyncio_stop import ACCEPTS_A_TURN, until_stopped
from lab.inside.servers.startup import Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Make a protocol object per connection, one buffer for all, until the stop."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(server.settings.recv_size))
    factory = lambda: BufferedClient(server, buffer)  # noqa: E731  a factory is all the loop wants
    accepting = await loop.create_server(factory, sock=listener, backlog=ACCEPTS_A_TURN)
    await until_stopped(server, listener, accepting)


class BufferedClient(Client, asyncio.BufferedProtocol):  # two ways to receive; one is never called
    """One connection; only its receiving half differs from `Client`."""

    def __init__(self, server: Server, buffer: memoryview) -> None:
        super().__init__(server)
        self.buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next recv may put its bytes."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """That many bytes are there now; answer what became whole."""
        self.answer(self.conversation.respond(bytes(self.buffer[:nbytes])))


if __name__ == "__main__":
    run("asyncio-buffered", serve)
