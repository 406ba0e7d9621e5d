"""twisted: the reactor and its protocols, from which asyncio's were drawn.

**What it is.** A Protocol's methods are called for what happens to a connection (`connectionMade`, `dataReceived`,
`connectionLost`); the reactor calls them. It was there ten years before asyncio, and its callbacks, transports and
deferred results are asyncio's model.

**What the kernel does and the program waits in.** epoll, level-triggered, in the reactor.

**Writing.** `transport.write` keeps the bytes and asks for EPOLLOUT; they are sent when the reactor next comes round.
So every message costs two epoll_ctl(2) that others do not need. Half-close must be asked for
(`IHalfCloseableProtocol`): without it the peer's FIN closes both ways, and answers that are kept are lost.

**Back-pressure.** We register as a producer: above 64 KiB kept, `pauseProducing` tells us to make no more, and we
stop reading.

**Where it breaks.** Out of descriptors it gives up one it kept in reserve, accepts, and closes at once, so that
clients see their connection end. As all event loops: a call that blocks holds up everybody.

docs.twisted.org, "Writing Servers", "Producers and Consumers".
"""

from __future__ import annotations

import socket
from typing import Any

from lab.inside.framing import FramingError
from lab.inside.servers.startup import Server, readable, run


def serve(server: Server, listener: socket.socket) -> None:
    """Run twisted's reactor until the stop."""
    from twisted.internet import reactor as the_reactor  # only this model needs it
    from twisted.internet.interfaces import IHalfCloseableProtocol, IReadDescriptor
    from twisted.internet.protocol import Factory
    from zope.interface import implementer

    reactor: Any = the_reactor
    client_class = implementer(IHalfCloseableProtocol)(make_client_class(reactor))

    class Clients(Factory):
        """Makes the protocol object of each connection."""

        def buildProtocol(self, addr: Any) -> Any:
            return client_class(server)

    @implementer(IReadDescriptor)
    class Wakeup:
        """The descriptor that becomes readable with a signal, as the reactor wants to see it."""

        def fileno(self) -> int:
            return server.signals.wakeup_fd

        def doRead(self) -> None:
            server.signals.clear_wakeup()
            if server.stopping and not port.disconnecting:
                empty_queue()

        def connectionLost(self, reason: Any) -> None:
            """Never: it is ours."""

        def logPrefix(self) -> str:
            return "signals"

    def empty_queue() -> None:
        """Let the reactor accept what is left, then listen no more and let every stream come to its end."""
        if readable(port.socket) and not server.cut:
            reactor.callLater(0, empty_queue)
            return
        port.stopListening()
        server.end_input()
        wait_for_last()

    def wait_for_last() -> None:
        if server.count.open:
            reactor.callLater(0.005, wait_for_last)
        else:
            reactor.stop()

    listener.setblocking(False)
    port = reactor.adoptStreamPort(listener.fileno(), listener.family, Clients())  # duplicates the descriptor
    listener.close()
    reactor.addReader(Wakeup())
    reactor.run(installSignalHandlers=False)


def make_client_class(reactor: Any) -> type:
    """The protocol class, made here since twisted may not be imported before it is known to be there."""
    from twisted.internet.protocol import Protocol

    class Client(Protocol):
        """One connection, whose methods the reactor calls."""

        def __init__(self, server: Server) -> None:
            self.server = server
            self.conversation = server.conversation()
            self.paused: list[bytes] = []
            """Answers that wait for the handler's pause, in order."""
            self.input_ended = False

        def connectionMade(self) -> None:
            self.server.count.opened()
            self.transport.bufferSize = self.server.settings.recv_size
            self.transport.registerProducer(self, True)

        def dataReceived(self, data: bytes) -> None:
            """What one recv brought; answer what became whole."""
            try:
                for piece in self.conversation.respond(data):
                    if self.server.service.pause_s:
                        if not self.paused:
                            reactor.callLater(self.server.service.pause_s, self.pause_over)
                        self.paused.append(piece)
                    else:
                        self.send(piece)
            except FramingError as error:
                self.server.ended(error)
                self.finish()

        def pause_over(self) -> None:
            """The timer: send one answer, and pause again before the next."""
            self.send(self.paused.pop(0))
            if self.paused:
                reactor.callLater(self.server.service.pause_s, self.pause_over)
            elif self.input_ended:
                self.finish()

        def send(self, piece: bytes) -> None:
            self.transport.write(piece)
            self.server.count.bytes_out += len(piece)

        def pauseProducing(self) -> None:
            """Too much is kept: read no more from a peer that does not read."""
            self.transport.pauseProducing()

        def resumeProducing(self) -> None:
            self.transport.resumeProducing()

        def stopProducing(self) -> None:
            """The connection was lost."""

        def readConnectionLost(self) -> None:
            """The peer's FIN."""
            self.input_ended = True
            if not self.paused:
                self.finish()

        def writeConnectionLost(self) -> None:
            """Our own half was closed; it is not used here."""

        def finish(self) -> None:
            """Close once everything kept has been sent."""
            self.transport.unregisterProducer()
            self.transport.loseConnection()

        def connectionLost(self, reason: Any) -> None:
            from twisted.internet.error import ConnectionDone

            if not reason.check(ConnectionDone):
                error = reason.value.__cause__ or reason.value
                self.server.ended(error if isinstance(error, OSError) else ConnectionResetError(104, str(error)))
            self.server.count.closed += 1

    return Client


if __name__ == "__main__":
    run("twisted", serve)
