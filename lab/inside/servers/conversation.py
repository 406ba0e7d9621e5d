"""From what was received to what must be sent: framing and handler joined, so that a model's file shows I/O alone.

A `Service` is what all connections of a worker share; a `Conversation` is one connection's memory of an unfinished
message. A model that keeps no object per connection asks `Conversations` by descriptor instead, which remembers only
those few that have a message partly there.

`respond` gives the pieces to send, each by a send of its own: the answers to what one recv brought are joined into one
piece, but with `burst` every copy is a piece, and with `sleep` every answer is one, since a pause stands before each.
"""

from __future__ import annotations

from lab.inside.framing import Decoder, Framing, FramingError
from lab.inside.handlers import Handler
from lab.inside.servers.counters import Counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.inside.boundary_tap import Passing, Tap


class Service:
    """What is done with messages: the same for every connection."""

    def __init__(self, framing: Framing, handler: Handler) -> None:
        self.framing = framing
        self.handler = handler
        self.pause_s = handler.pause_s
        """Seconds to wait before each piece that `respond` gives."""
        self.direct = handler.answer if framing.transparent and handler.plain else None
        """Where one recv is one message and gets one answer: the whole way from data to answer. Else None."""

    def pieces(self, messages: list[bytes]) -> list[bytes]:
        """Answer whole messages.

        Raises:
            FramingError: an answer cannot travel in the framing.
        """
        answer, encode, handler = self.handler.answer, self.framing.encode, self.handler
        if handler.plain:
            if len(messages) == 1:
                return [encode(answer(messages[0]))]
            return [b"".join([encode(answer(message)) for message in messages])] if messages else []
        if handler.copies == 0:
            return []
        return [piece for message in messages for piece in [encode(answer(message))] * handler.copies]

    def answer_datagram(self, data: bytes, count: Counters) -> list[bytes]:
        """Take one datagram and give the datagrams to send; a message never spans two."""
        count.messages += 1
        count.bytes_in += len(data)
        if self.direct is not None:
            return [self.direct(data)]
        try:
            messages, used, _ = self.framing.take(data)
            if used < len(data):
                raise FramingError(f"framing {self.framing.text}: the datagram ends inside a message")
            return self.pieces(messages)
        except FramingError as error:
            count.malformed += 1
            return self.pieces(error.messages)


class Conversation:
    """One connection."""

    __slots__ = ("_count", "_decoder", "_log", "_passed", "_service")

    def __init__(self, service: Service, count: Counters, log: Passing | None = None) -> None:
        self._service = service
        self._count = count
        self._log = log
        """Told what was taken for a message, where boundaries are logged."""
        self._passed = 0
        self._decoder: Decoder | None = None

    def respond(self, data: bytes) -> Iterable[bytes]:
        """Take what was received and give what must be sent.

        Raises:
            FramingError: the peer broke the framing; raised after the pieces for the messages before that.
        """
        service = self._service
        if service.direct is not None:
            self._count.bytes_in += len(data)
            self._count.messages += 1
            return (service.direct(data),)
        messages, broken = self.take(data)
        pieces = service.pieces(messages)
        return pieces if broken is None else _then_raise(pieces, broken)

    def take(self, data: bytes) -> tuple[list[bytes], FramingError | None]:
        """Take what was received and give the messages that are whole now, for a model that answers them elsewhere;
        and how the peer broke the framing after them, if it did."""
        count = self._count
        count.bytes_in += len(data)
        if self._decoder is None:
            self._decoder = self._service.framing.decoder()
        self._passed += len(data)
        try:
            messages = self._decoder.feed(data)
        except FramingError as error:
            count.messages += len(error.messages)
            if self._log is not None:
                self._log.took(error.messages, None)
            return error.messages, error
        count.messages += len(messages)
        if self._log is not None:
            self._log.took(messages, self._decoder.kept, self._passed)
        return messages, None


class Conversations:
    """All connections of a worker by descriptor; those between two messages cost nothing."""

    def __init__(self, service: Service, count: Counters, tap: Tap | None = None) -> None:
        self._service = service
        self._count = count
        self._tap = tap
        """Told what was taken for a message, where boundaries are logged."""
        self._unfinished: dict[int, Decoder] = {}

    def respond(self, descriptor: int, data: bytes) -> Iterable[bytes]:
        """`Conversation.respond` for one descriptor."""
        count, service = self._count, self._service
        count.bytes_in += len(data)
        decoder = self._unfinished.get(descriptor)
        try:
            if decoder is not None:
                messages = decoder.feed(data)
                if not decoder.kept:
                    del self._unfinished[descriptor]
            else:
                messages, used, _ = service.framing.take(data)
                if used < len(data):
                    decoder = self._unfinished[descriptor] = service.framing.decoder()
                    decoder.feed(data[used:])
        except FramingError as error:
            count.messages += len(error.messages)
            if self._tap is not None:
                self._tap.took(descriptor, error.messages, None)
            return _then_raise(service.pieces(error.messages), error)
        count.messages += len(messages)
        if self._tap is not None:
            self._tap.took(descriptor, messages, decoder.kept if decoder is not None else 0)
        return service.pieces(messages)

    def forget(self, descriptor: int) -> None:
        """Call before the descriptor is closed: its number will come again."""
        if self._unfinished:
            self._unfinished.pop(descriptor, None)


def _then_raise(pieces: list[bytes], error: FramingError) -> Iterator[bytes]:
    yield from pieces
    raise error
