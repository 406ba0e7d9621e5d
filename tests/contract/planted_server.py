"""A server with the bug that gave sticky packets their name: it takes whatever one recv brings for one message.

It speaks the framing `length`, and so it should ask each header how long its message is. It skips the header and
answers all that follows. As long as one message comes with each recv nobody notices.
"""

from __future__ import annotations

import socket

from lab.inside.framing import LengthPrefix, Taken
from lab.inside.servers import threaded_server
from lab.inside.servers.conversation import Service
from lab.inside.servers.startup import Server, run


class OneRecvOneMessage(LengthPrefix):
    """The bug."""

    def take(self, data: bytes | bytearray) -> Taken:
        return Taken([bytes(data[4:])], len(data), 0)


def serve(server: Server, listener: socket.socket) -> None:
    server.service = Service(OneRecvOneMessage(), server.settings.handler)
    threaded_server.serve(server, listener)


if __name__ == "__main__":
    run("threads", serve)
