"""tornado's TCPServer: coroutines over IOStream.

**What it is.** The framework that brought event loops to Python's web. Its IOLoop has become a coat over asyncio's
loop; its own is IOStream, which stands where asyncio has transports and streams: `read_bytes`, `read_until`, `write`,
each awaited.

**What the kernel does and the program waits in.** epoll, through asyncio's loop.

**What it costs.** A stream object with buffers (some 6 KB), a future and a coroutine switch a message, as asyncio's
streams.

**Where it breaks.** Half-close: a stream that reads the peer's FIN closes both ways, so whoever sends, shuts down its
side and waits for the answer (as `printf hello | nc host port` does) gets none. And out of descriptors: accept's
EMFILE escapes into the loop while the listener stays readable, a busy loop with a log line a turn (mended in
`tornado_common.py`).

www.tornadoweb.org, "tornado.tcpserver" and "tornado.iostream".
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from lab.inside.framing import FramingError
from lab.inside.servers.startup import Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run tornado on an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Give every connection to tornado, until the stop."""
    from tornado.tcpserver import TCPServer  # only this model needs it

    from lab.inside.servers.tornado_common import until_stopped

    streams: set[Any] = set()

    class Lines(TCPServer):
        """tornado's server: what we write is what happens to a stream."""

        async def handle_stream(self, stream: Any, address: Any) -> None:
            streams.add(stream)
            server.count.opened()
            await talk(server, stream)
            streams.discard(stream)
            server.count.closed += 1

    await until_stopped(server, listener, Lines, streams)


async def talk(server: Server, stream: Any) -> None:
    """Answer one client until it closes."""
    from tornado.iostream import StreamClosedError

    conversation, count = server.conversation(stream), server.count
    try:
        while True:
            data = await stream.read_bytes(server.settings.recv_size, partial=True)
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    await asyncio.sleep(server.service.pause_s)
                await stream.write(piece)  # done when the kernel has it all: back-pressure by itself
                count.bytes_out += len(piece)
    except StreamClosedError as error:  # the client's FIN, or with a real error its RST
        if isinstance(error.real_error, OSError):
            server.ended(error.real_error)
    except FramingError as error:
        server.ended(error)
    finally:
        stream.close()


if __name__ == "__main__":
    run("tornado", serve)
