"""asyncio with streams: code that reads like the blocking server, and runs as an event loop.

**What the kernel does.** epoll, level-triggered, as in `epoll_server.py`: asyncio's loop stands on `selectors`.

**What the program waits in.** The loop in epoll_wait; each client's coroutine in `await`. A coroutine is a function
that can be set aside with its local variables and taken up again. `await reader.read()` with nothing there leaves a
future behind and gives control back to the loop; when the socket is readable the loop receives into the
StreamReader's buffer, completes the future, and schedules the task. Nothing runs in parallel: between two awaits a
coroutine has the thread for itself, so there are no locks.

**Writing.** `writer.write` sends at once what the send buffer takes and keeps the rest; it never waits. `await
writer.drain()` is the back-pressure: it waits while more than 64 KiB are kept (the high-water mark). Without it a
slow reader fills our memory.

**What it costs.** Per message a task switch, a future, two buffers' copies: about ten times the raw loop's Python
work. Per idle connection a transport, protocol, reader, writer, task and frame: some 5 KB. Stock asyncio also
receives into a fresh 256 KiB bytes object each time, which glibc's malloc maps and unmaps unless
MALLOC_MMAP_THRESHOLD_ says otherwise.

**Where it breaks.** At any call that blocks: time.sleep, a computation, a slow disk. All clients wait for it.

asyncio in the Python library reference, "Streams"; epoll(7).
"""

from __future__ import annotations

import asyncio
import socket

from lab.inside.servers.asyncio_stop import ACCEPTS_A_TURN, until_stopped
from lab.inside.servers.startup import ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Start a task per connection, until the stop."""
    listener.setblocking(False)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.count.opened()
        await talk(server, reader, writer)

    accepting = await asyncio.start_server(client, sock=listener, backlog=ACCEPTS_A_TURN)
    await until_stopped(server, listener, accepting)


async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one client until it closes; a task of its own."""
    conversation, count = server.conversation(writer), server.count
    try:
        while data := await reader.read(server.settings.recv_size):
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    await asyncio.sleep(server.service.pause_s)  # set aside: only this client waits
                writer.write(piece)
                count.bytes_out += len(piece)
                await writer.drain()
        writer.close()
        await writer.wait_closed()  # until the last answer is with the kernel
    except ENDED as error:
        server.ended(error)
    finally:
        writer.close()
        count.closed += 1


if __name__ == "__main__":
    run("asyncio-streams", serve)
