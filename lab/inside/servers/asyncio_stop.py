"""The stop and the failures of the servers that run on an asyncio loop (asyncio's own, or uvloop's)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from lab.inside.servers.startup import WANT, Server, readable

ACCEPTS_A_TURN = 64
"""What servers on asyncio give the loop as `backlog`. The loop makes two things of that number: the length of the
accept queue, and how often it calls accept in one turn. And when accept fails with EMFILE it goes on to call it that
often, with an error reported and a timer set each time (seen in 3.11 and 3.12). So it gets a small one, and
`until_stopped` sets the queue's true length by another listen(2)."""


async def until_stopped(server: Server, listener: socket.socket, accepting: asyncio.AbstractServer) -> None:
    """Let `accepting` serve until the stop; then empty the accept queue, end every input, and wait for the last
    close."""
    listener.listen(server.settings.backlog)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # asyncio's loop sleeps in epoll_wait and hears of a signal through this descriptor; uvloop brings one of its own.
    loop.add_reader(server.signals.wakeup_fd, server.signals.clear_wakeup)
    loop.set_exception_handler(lambda loop, context: count_accept_failure(server, loop, context))
    server.when_stopping(lambda: _set_soon(loop, stop))
    await stop.wait()
    while not server.cut and readable(listener):
        await asyncio.sleep(0)  # the loop accepts what is left
    accepting.close()
    server.end_input()
    while server.count.open:
        await asyncio.sleep(0.005)


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


def count_accept_failure(server: Server, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Count accept's EMFILE and the like: asyncio itself leaves the listener alone for a second after one."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in WANT:
        server.accept_failed(error)
    else:
        loop.default_exception_handler(context)
