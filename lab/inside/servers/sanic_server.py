"""sanic: an HTTP framework on asyncio's protocol callbacks.

**What it is.** sanic speaks HTTP only, so a message is the body of a POST. It was the first to put `async def`
handlers on a bare asyncio protocol (and uvloop, where it is installed; here asyncio's loop, so that frameworks are
compared and not loops). A task per connection reads requests from what `data_received` leaves behind.

**What the kernel does and the program waits in.** epoll, through asyncio's loop.

**What it costs.** A parser, a router, request and response objects per message; a protocol and a task per connection.

**Where it breaks.** Half-close: on the peer's FIN the transport is closed, and the answer that the task has still to
write is lost. Idle clients: KEEP_ALIVE_TIMEOUT (120 s) and REQUEST_TIMEOUT (60 s) close them; raised here, since idle
crowds are an experiment.

sanic.dev; asyncio in the Python library reference; RFC 9112.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from lab.inside.servers.asyncio_stop import ACCEPTS_A_TURN, count_accept_failure
from lab.inside.servers.startup import Server, readable, run

A_DAY_S = 86_400


def serve(server: Server, listener: socket.socket) -> None:
    """Run sanic on an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Give every connection to sanic, until the stop."""
    import sanic  # only this model needs it
    from sanic.server import HttpProtocol

    handler, count = server.service.handler, server.count

    class Counted(HttpProtocol):
        """sanic's protocol, with connections and bytes counted."""

        def connection_made(self, transport: Any) -> None:
            count.opened()
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            count.bytes_in += len(data)
            super().data_received(data)

        async def send(self, data: bytes) -> None:
            count.bytes_out += len(data)
            await super().send(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if exc is not None:
                server.ended(exc)
            count.closed += 1
            super().connection_lost(exc)

    app = sanic.Sanic("lab", configure_logging=False)
    app.config.update(
        KEEP_ALIVE_TIMEOUT=A_DAY_S, REQUEST_TIMEOUT=A_DAY_S, RESPONSE_TIMEOUT=A_DAY_S, ACCESS_LOG=False, MOTD=False
    )

    @app.post("/<path:path>")
    async def message(request: Any, path: str = "") -> Any:
        """Answer one request's body."""
        count.messages += 1
        if handler.pause_s:
            await asyncio.sleep(handler.pause_s)
        return sanic.response.raw(handler.answer(request.body) * handler.copies)

    app.add_route(message, "/", methods=["POST"], name="root", unquote=False)
    listener.setblocking(False)
    accepting = await app.create_server(sock=listener, protocol=Counted, backlog=ACCEPTS_A_TURN)
    assert accepting is not None
    await accepting.startup()
    await accepting.before_start()
    await accepting.after_start()
    await accepting.start_serving()
    await until_stopped(server, listener, accepting)


async def until_stopped(server: Server, listener: socket.socket, accepting: Any) -> None:
    """Serve until the stop; then empty the accept queue, and close every connection once it is idle."""
    listener.listen(server.settings.backlog)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(server.signals.wakeup_fd, server.signals.clear_wakeup)
    loop.set_exception_handler(lambda loop, context: count_accept_failure(server, loop, context))
    server.when_stopping(lambda: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    while not server.cut and readable(listener):
        await asyncio.sleep(0.001)  # the loop accepts what is left
    accepting.close()
    while server.count.open:
        # The end of input is not announced: sanic would close without the answers that are still due.
        for connection in list(accepting.connections):
            with contextlib.suppress(AttributeError, ValueError):  # it has closed by itself this moment
                if not connection.recv_buffer and not readable(connection.transport.get_extra_info("socket")):
                    connection.close_if_idle()
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    run("sanic", serve)
