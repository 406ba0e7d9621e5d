"""asyncio with a protocol: the loop calls us, without a task or a future in between.

**What the kernel does.** epoll, level-triggered, as in `epoll_server.py`.

**What the program waits in.** The loop in epoll_wait. When a socket is readable the transport calls recv and hands
the bytes to `data_received`; we answer with `transport.write`, which calls send at once and keeps what found no room.

**Why.** Streams (`asyncio_streams_server.py`) are a protocol with a coroutine behind it. For one answer a message the
coroutine is not needed: the callback saves a future and a task switch a message, and some 3 KB a connection. What is
lost is the straight line: what was a loop over `await` becomes states between callbacks, as the pause below shows.

**Back-pressure** is a pair of callbacks: `pause_writing` when more than 64 KiB wait to be sent, `resume_writing` when
they have gone; we pass it on to the peer by not reading meanwhile.

**How much** one recv may bring is the loop's choice here (256 KiB), not ours: `--recv-size` says nothing.

**Where it breaks.** As all event loops: a call that blocks holds up everybody.

asyncio in the Python library reference, "Transports and Protocols"; epoll(7).
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from typing import cast

from lab.inside.framing import FramingError
from lab.inside.servers.asyncio_stop import ACCEPTS_A_TURN, until_stopped
from lab.inside.servers.conversation import Conversation
from lab.inside.servers.startup import Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Make a protocol object per connection, until the stop."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    accepting = await loop.create_server(lambda: Client(server), sock=listener, backlog=ACCEPTS_A_TURN)
    await until_stopped(server, listener, accepting)


class Client(asyncio.Protocol):
    """One connection, whose methods the transport calls."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.conversation: Conversation
        self.transport: asyncio.Transport
        self.paused: deque[bytes] = deque()
        """Answers that wait for the handler's pause, in order."""
        self.input_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self.conversation = self.server.conversation(transport)
        self.server.count.opened()

    def data_received(self, data: bytes) -> None:
        """What one recv brought; answer what became whole."""
        self.answer(self.conversation.respond(data))

    def answer(self, pieces: Iterable[bytes]) -> None:
        """Send the answers, at once or each after the handler's pause."""
        try:
            for piece in pieces:
                if self.server.service.pause_s:
                    self.send_after_pause(piece)
                else:
                    self.transport.write(piece)
                    self.server.count.bytes_out += len(piece)
        except FramingError as error:
            self.server.ended(error)
            self.transport.close()  # after what was written before has gone

    def pause_writing(self) -> None:
        """The peer does not read: read no more from it."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.paused:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer's FIN. True keeps the sending side open, for answers that still wait for their pause."""
        self.input_ended = True
        return bool(self.paused)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.server.ended(exc)
        self.paused.clear()
        self.server.count.closed += 1

    def send_after_pause(self, piece: bytes) -> None:
        """A callback cannot wait. So the answer is kept, a timer set, and reading stopped until none is left."""
        if not self.paused:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self.server.service.pause_s, self.pause_over)
        self.paused.append(piece)

    def pause_over(self) -> None:
        """The timer: send one answer, and pause again before the next."""
        if not self.paused:
            return  # the connection was lost meanwhile
        piece = self.paused.popleft()
        self.transport.write(piece)
        self.server.count.bytes_out += len(piece)
        if self.paused:
            asyncio.get_running_loop().call_later(self.server.service.pause_s, self.pause_over)
        elif self.input_ended:
            self.transport.close()
        else:
            self.transport.resume_reading()


if __name__ == "__main__":
    run("asyncio-protocol", serve)
