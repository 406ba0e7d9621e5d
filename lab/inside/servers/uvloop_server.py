"""uvloop: asyncio's protocol on libuv, an event loop in C.

**What it is.** A second implementation of asyncio's loop, transports and timers, in Cython on libuv, the library
under Node.js. The application stays: this file runs `asyncio_protocol_server.Client` unchanged.

**What the kernel does.** epoll again: no loop changes what the kernel offers. libuv reads into a buffer it keeps,
handles callbacks in C, and calls Python only for `data_received`; writes are tried at once and gathered with writev.

**What it costs.** About half of asyncio's processor time for small messages. Much of the gap to stock asyncio is
malloc: asyncio receives into 256 KiB objects, which glibc maps and unmaps each time (`asyncio_buffered_server.py`
avoids the same without another library).

**Where it breaks.** Out of descriptors it does not pause: libuv gives up a descriptor it kept in reserve, accepts,
and closes at once, so that clients see their connection end instead of waiting in the queue.

uvloop.readthedocs.io; docs.libuv.org "The I/O loop".
"""

from __future__ import annotations

import asyncio
import socket

from lab.inside.servers.asyncio_protocol_server import main
from lab.inside.servers.startup import Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run a uvloop loop until the stop."""
    import uvloop  # only this model needs it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(server, listener))


if __name__ == "__main__":
    run("uvloop", serve)
