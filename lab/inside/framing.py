r"""Where a message ends in a stream of bytes: the cure for "sticky packets" (粘包), apart from any I/O.

TCP carries a stream. What one `send` wrote may reach the peer in one `recv`, in many, or joined with what the next
`send` wrote, so whoever wants messages must mark their ends in the stream itself. Six ways, named as a scenario names
them:

    none            no marks at all: whatever one `recv` gives is taken for a message. Wrong as soon as timing changes
    fixed:64        every message is 64 bytes
    delimiter:\n    a message ends at a byte sequence that never stands inside one (escapes as in Python: \n \r \0 \x1e)
    length          4 bytes big-endian: the length of the message that follows
    json-header     4 bytes big-endian: the length of a JSON object {"length": N}, then that object, then N bytes
    http            HTTP/1.1: POST requests one way, responses the other, the message as body with Content-Length

`Framing.encode` makes bytes of a message. `Framing.decoder` makes a `Decoder`, one a connection and direction, whose
`feed` takes what arrived and returns the messages that are now whole; how the stream was cut on its way never changes
them. A decoder never takes a byte past the message it returns, and keeps the start of the next one. Framings hold no
state and may be shared; fleet and servers use the same.

A server with ten thousand connections does not want ten thousand decoders: `Framing.take` is the same step without
memory, and says how much it used, so that a decoder is needed only where a message is partly there.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

LARGEST_MESSAGE = 16 * 1024 * 1024
"""Bytes a message may have unless the caller says otherwise: a broken length field must not fill the memory."""
LARGEST_HEADER = 8 * 1024
"""Bytes a header (JSON, HTTP) may have."""


class FramingError(ValueError):
    """The peer broke the framing: oversized or malformed. Nothing after this point of the stream can be trusted.

    `messages` are the whole ones that came before the break in the same bytes.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.messages: list[bytes] = []


if TYPE_CHECKING:

    class Taken(NamedTuple):
        """What one step over some bytes gave."""

        messages: list[bytes]
        """Whole messages, in order."""
        used: int
        """Bytes those took, framing included; what follows belongs to the next message."""
        wanted: int
        """The next message cannot be whole before this many bytes follow `used`; 0 where nothing is left over."""

else:
    Taken = namedtuple("Taken", ("messages", "used", "wanted"))  # importing `typing` is dear: see lifecycle.py


class Framing(ABC):
    """One way to mark messages in a stream."""

    text: str
    """As the scenario writes it."""
    transparent = False
    """True where a message travels as it is and one `recv` is one message (`none`)."""
    limit: int
    """Bytes a message may have."""

    def encode(self, message: bytes) -> bytes:
        """Frame one message.

        Raises:
            FramingError: the message cannot travel in this framing (wrong size, holds the delimiter, too long).
        """
        if len(message) > self.limit:
            raise self._oversized(len(message))
        return self._mark(message)

    def take(self, data: bytes | bytearray) -> Taken:
        """Cut the whole messages off the front of `data`, which starts where a message starts.

        Raises:
            FramingError: `data` breaks the framing; the messages before that are in the error.
        """
        messages: list[bytes] = []
        used, size = 0, len(data)
        while used < size:
            try:
                body, end = self._locate(data, used)
            except FramingError as error:
                error.messages = messages
                raise
            if end > size or body < 0:
                return Taken(messages, used, end - used)
            messages.append(bytes(data[body : end - self._tail]))
            used = end
        return Taken(messages, used, 0)

    def decoder(self) -> Decoder:
        """Start a stream."""
        return Decoder(self)

    def frame_end(self, data: bytes | bytearray, start: int) -> int | None:
        """Return where the frame that starts at `start` ends; None while it is not whole.

        Raises:
            FramingError: `data` breaks the framing there.
        """
        if start >= len(data):
            return None
        body, end = self._locate(data, start)
        return end if body >= 0 and end <= len(data) else None

    @abstractmethod
    def _mark(self, message: bytes) -> bytes:
        """Frame a message whose length is allowed."""

    @abstractmethod
    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        """Find the message that starts at `start`: offset of its body (-1: not known yet), offset of its frame's end.

        The end may lie beyond `data`; while it is not known it is the least it can be.
        """

    _tail = 0
    """Bytes of framing between the end of the body and the end of the frame."""

    def _oversized(self, size: int) -> FramingError:
        return FramingError(f"framing {self.text}: at most {self.limit} bytes a message are allowed, got {size}")


class Decoder:
    """One direction of one connection: keeps what has arrived of a message until the rest is there."""

    __slots__ = ("_framing", "_kept", "_wanted")

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        # A bytearray grows in place and drops its front in place, so a message that arrives byte by byte is not copied
        # once a byte.
        self._kept = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; returns the messages that are whole now, in order.

        Raises:
            FramingError: the stream breaks the framing; whole messages before the break are in the error.
        """
        kept = self._kept
        if not kept:
            messages, used, self._wanted = self._framing.take(data)
            if used < len(data):
                kept += data[used:] if used else data
            return messages
        kept += data
        if len(kept) < self._wanted:
            return []
        messages, used, self._wanted = self._framing.take(kept)
        del kept[:used]
        return messages

    @property
    def kept(self) -> int:
        """Bytes of an unfinished message that are held back."""
        return len(self._kept)


class NoFraming(Framing):
    text = "none"
    transparent = True
    limit = LARGEST_MESSAGE

    def encode(self, message: bytes) -> bytes:
        return message

    def take(self, data: bytes | bytearray) -> Taken:
        return Taken([bytes(data)] if data else [], len(data), 0)

    def _mark(self, message: bytes) -> bytes:
        return message

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        return start, len(data)


class FixedSize(Framing):
    def __init__(self, size: int) -> None:
        self.text = f"fixed:{size}"
        self.limit = size

    def encode(self, message: bytes) -> bytes:
        if len(message) != self.limit:
            raise FramingError(f"framing {self.text}: a message must have {self.limit} bytes, got {len(message)}")
        return message

    def _mark(self, message: bytes) -> bytes:
        return message

    def take(self, data: bytes | bytearray) -> Taken:
        if len(data) == self.limit:  # by far the commonest case: one message, one recv
            return Taken([bytes(data)], self.limit, 0)
        return super().take(data)

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        return start, start + self.limit


class Delimiter(Framing):
    def __init__(self, delimiter: bytes, *, limit: int = LARGEST_MESSAGE) -> None:
        shown = delimiter.decode("latin-1").encode("unicode_escape").decode("ascii")
        self.text = f"delimiter:{shown}"
        self.delimiter = delimiter
        self.limit = limit
        self._tail = len(delimiter)

    def _mark(self, message: bytes) -> bytes:
        if self.delimiter in message:
            raise FramingError(
                f"framing {self.text}: the message holds the delimiter at {message.find(self.delimiter)}"
            )
        if (message + self.delimiter).find(self.delimiter) < len(message):
            raise FramingError(
                f"framing {self.text}: the message ends like the delimiter starts; its end would be misread"
            )
        return message + self.delimiter

    def decoder(self) -> Decoder:
        return _DelimiterDecoder(self)

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        return self.search(data, start, start)

    def search(self, data: bytes | bytearray, start: int, searched: int) -> tuple[int, int]:
        """`_locate`, with the bytes before `searched` known to hold no start of a delimiter."""
        found = data.find(self.delimiter, searched)
        length = (len(data) - self._tail + 1 if found < 0 else found) - start
        if length > self.limit:
            raise self._oversized(length)
        if found < 0:
            return -1, len(data) + 1
        return start, found + self._tail


class _DelimiterDecoder(Decoder):
    """A long line that arrives in pieces is searched once, not again from its start with every piece."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[bytes]:
        kept, framing = self._kept, self._framing
        assert isinstance(framing, Delimiter)
        if not kept:
            return super().feed(data)
        searched = max(0, len(kept) - len(framing.delimiter) + 1)
        kept += data
        body, end = framing.search(kept, 0, searched)
        if body < 0:
            return []
        first = bytes(kept[: end - len(framing.delimiter)])
        try:
            messages, used, _ = framing.take(bytes(kept[end:]))
        except FramingError as error:
            error.messages.insert(0, first)
            raise
        del kept[: end + used]
        return [first, *messages]


class LengthPrefix(Framing):
    text = "length"

    def __init__(self, *, limit: int = LARGEST_MESSAGE) -> None:
        self.limit = limit

    def _mark(self, message: bytes) -> bytes:
        return struct.pack("!I", len(message)) + message

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        if len(data) - start < 4:
            return -1, start + 4
        (length,) = struct.unpack_from("!I", data, start)
        if length > self.limit:
            raise self._oversized(length)
        return start + 4, start + 4 + length


def parse_framing(text: str, *, side: str = "server") -> Framing:
    r"""Turn a scenario's words into a framing; `side` (`server` or `client`) matters to `http` alone.

    Raises:
        ValueError: an unknown name, or an argument that is missing, unwanted or out of range.
    """
    name, colon, argument = text.partition(":")
    if name == "fixed":
        if not argument.isdecimal() or not 1 <= int(argument) <= LARGEST_MESSAGE:
            raise ValueError(f"framing `fixed`: 1 to {LARGEST_MESSAGE} bytes are allowed, got `{argument}`")
        return FixedSize(int(argument))
    if name == "delimiter":
        try:
            delimiter = argument.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
        except UnicodeError:
            delimiter = b""
        if not delimiter:
            raise ValueError(rf"framing `delimiter`: bytes such as \n or \x1e are needed, got `{argument}`")
        return Delimiter(delimiter)
    if colon:
        raise ValueError(f"framing `{name}`: takes no argument, got `{argument}`")
    if name == "http":
        from lab.inside.http_framing import HttpFraming  # a module of its own: nobody else needs it

        return HttpFraming(side=side)
    if name == "json-header":
        from lab.inside.json_framing import JsonHeader  # nor `json`, whose import costs more than this module

        return JsonHeader()
    plain: dict[str, type[Framing]] = {"none": NoFraming, "length": LengthPrefix}
    if name not in plain:
        raise ValueError(
            f"unknown framing `{text}`; known are none, fixed:SIZE, delimiter:BYTES, length, json-header, http"
        )
    return plain[name]()
