"""A pool that works for an event loop: clients wait in the loop, and only messages go to the threads.

**Submit, future, callback.** `ThreadPoolExecutor.submit` puts a call into the executor's queue and returns at once,
with a `Future`: a place where the result will be. A free thread takes the call, runs it, and sets the result, which
wakes whoever waits for it: `result()` blocks the caller; `add_done_callback` has a function called instead, in the
thread that did the work. A loop must not block, and its own objects are not made for other threads; so
`asyncio.wrap_future` adds a callback that only tells the loop to go on (`call_soon_threadsafe`: a byte into a pipe that
its epoll watches), and the coroutine awaits that.

**What it is better at than `thread_pool_server.py`.** There a thread belongs to a client until it closes, and two
silent clients lock out everybody else from a pool of two. Here a client that says nothing costs the pool nothing: the
loop waits for all of them, and a thread is taken only for as long as one message needs. The bound holds for the work,
not for the clients. A handler that blocks is welcome: it stops one thread, not the loop.

**Where those wait that come too many.** In the executor's queue, in this program's memory: received, off the kernel's
buffer, and not begun. That queue has no bound. What bounds it here is that a client's next message is read when its
last one is answered: one job a connection.

**What it costs.** A message crosses to a thread and back: two wake-ups, some 50 us. Under CPython's lock the threads
compute one at a time; for computing take processes (`executor_processes_server.py`).

concurrent.futures and asyncio in the Python library reference; eventfd(2) for the wake-up other loops use.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

from lab.inside import lifecycle
from lab.inside.servers.asyncio_stop import ACCEPTS_A_TURN, until_stopped
from lab.inside.servers.conversation import Service
from lab.inside.servers.startup import ENDED, Server, run

Submit = Callable[[bytes], "Future[list[bytes]]"]
"""Hands one message to the pool."""


def serve(server: Server, listener: socket.socket) -> None:
    """Run a loop beside a pool of threads until the stop."""
    with ThreadPoolExecutor(server.settings.pool, thread_name_prefix="worker") as pool:
        asyncio.run(main(server, listener, lambda message: pool.submit(answer, server.service, message)))


def answer(service: Service, message: bytes) -> list[bytes]:
    """Answer one message, in a worker of the pool; gives the pieces to send."""
    pieces = service.pieces([message])
    if service.pause_s:
        time.sleep(service.pause_s * len(pieces))  # only this worker stands still
    return pieces


async def main(server: Server, listener: socket.socket, submit: Submit) -> None:
    """Start a coroutine per connection, until the stop."""
    listener.setblocking(False)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.count.opened()
        await talk(server, reader, writer, submit)

    accepting = await asyncio.start_server(client, sock=listener, backlog=ACCEPTS_A_TURN)
    await until_stopped(server, listener, accepting)


async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, submit: Submit) -> None:
    """Serve one client until it closes: receive here, have each message answered by the pool, send here."""
    conversation, count = server.conversation(writer), server.count
    try:
        while data := await reader.read(server.settings.recv_size):
            messages, broken = conversation.take(data)
            for message in messages:
                pieces = await asyncio.wrap_future(submit(message))  # the loop serves others until the callback
                for piece in pieces:
                    writer.write(piece)
                    count.bytes_out += len(piece)
                    await writer.drain()
            if broken is not None:
                raise broken
        writer.close()
        await writer.wait_closed()  # until the last answer is with the kernel
    except ENDED as error:
        server.ended(error)
    except BrokenExecutor as error:  # a worker process was killed: no message will be answered any more
        lifecycle.say(f"{error} The server stops.")
        server.finish(failed=True)
    finally:
        writer.close()
        count.closed += 1


if __name__ == "__main__":
    run("executor-threads", serve)
