"""tornado's HTTP server: what a framework puts between the socket and the handler.

**What it is.** HTTPServer on the TCPServer of `tornado_server.py`: a parser that reads header and body from the
stream, an Application that finds the handler by path, a handler object a request, and the response's header around
the answer. A message here is the body of a POST.

**What the kernel does and the program waits in.** epoll, through asyncio's loop.

**What it costs.** Some 150 bytes of header each way, against 64 bytes of message, and several hundred microseconds of
Python a request: an order of magnitude over the raw stream. That is the price of a framework, to be set against what
it does for one.

**Where it breaks.** As `tornado_server.py`. What is counted here are messages and their bodies: the header bytes pass
inside the framework.

www.tornadoweb.org, "tornado.httpserver" and "tornado.web"; RFC 9112.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from lab.inside.servers.startup import Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run tornado on an asyncio loop until the stop."""
    asyncio.run(main(server, listener))


async def main(server: Server, listener: socket.socket) -> None:
    """Give every connection to tornado's HTTP server, until the stop."""
    from tornado.httpserver import HTTPServer  # only this model needs it
    from tornado.web import Application, RequestHandler

    from lab.inside.servers.tornado_common import until_stopped

    streams: set[Any] = set()
    handler, count = server.service.handler, server.count

    class Message(RequestHandler):
        """One request."""

        async def post(self) -> None:
            """Answer the body."""
            count.messages += 1
            count.bytes_in += len(self.request.body)
            if handler.pause_s:
                await asyncio.sleep(handler.pause_s)
            body = handler.answer(self.request.body) * handler.copies
            self.set_header("Content-Type", "application/octet-stream")
            self.write(body)
            count.bytes_out += len(body)

        def compute_etag(self) -> None:
            """No hash of the body: nobody caches here."""

    class Counted(HTTPServer):
        """tornado's server, with its connections counted."""

        def handle_stream(self, stream: Any, address: Any) -> None:
            streams.add(stream)
            count.opened()
            super().handle_stream(stream, address)

        def on_close(self, server_conn: Any) -> None:
            """Called by tornado when a connection has ended."""
            if isinstance(server_conn.stream.error, OSError):
                server.ended(server_conn.stream.error)
            streams.discard(server_conn.stream)
            count.closed += 1
            super().on_close(server_conn)

    application = Application([("/.*", Message)], log_function=lambda _handler: None)
    await until_stopped(server, listener, lambda: Counted(application, idle_connection_timeout=1e9), streams)


if __name__ == "__main__":
    run("tornado-http", serve)
