"""What the two tornado models share: accepting without the busy loop, and the stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab.inside.servers.startup import ACCEPT_PAUSE_S, WANT, Server, readable

if TYPE_CHECKING:
    from tornado.tcpserver import TCPServer


async def until_stopped(
    server: Server, listener: socket.socket, make_frame: Callable[[], TCPServer], streams: set[Any]
) -> None:
    """Let a frame serve `streams` until the stop; then empty the accept queue, and close each one once it is quiet."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    frame = make_frame()

    def resume() -> None:
        nonlocal frame
        # A duplicate: `TCPServer.stop` closes what it was given, and the queue must survive a pause. And a new frame:
        # one that was stopped ignores a second stop.
        try:
            duplicate = listener.dup()
        except OSError as error:
            server.accept_failed(error)
            loop.call_later(ACCEPT_PAUSE_S, resume)
            return
        frame = make_frame()
        frame.add_socket(duplicate)

    def failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # tornado lets accept's EMFILE escape into the loop, and the listener stays readable: a busy loop.
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in WANT:
            server.accept_failed(error)
            frame.stop()
            loop.call_later(ACCEPT_PAUSE_S, resume)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(failed)
    loop.add_reader(server.signals.wakeup_fd, server.signals.clear_wakeup)
    resume()
    server.when_stopping(lambda: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    while not server.cut and readable(listener):
        await asyncio.sleep(0.001)  # the loop accepts what is left
    frame.stop()
    listener.close()
    # An IOStream that reads the end of its input closes both ways, so its answers would be lost. So the end of input is
    # not announced here; a stream is closed once it waits for more, has nothing to send, and its socket holds nothing.
    while streams:
        for stream in list(streams):
            if stream.closed() or (stream.reading() and not stream.writing() and not readable(stream.socket)):
                stream.close()
        await asyncio.sleep(0.005)
