"""The boundary log of a program that holds bare descriptors: `os.read` and `os.write` that note what they move.

A fleet's worker and the epoll server call `read` and `write` of a tap instead of the system's when a scenario asks for
`boundaries`; otherwise they call the system's, and a tap costs nothing, being nowhere. Of the first connections that
speak every call is noted (`boundary_log.py`), of the others nothing.

Where messages end is told by the program's own framing, run over the bytes that pass: of `none` each recv is a message,
as the program takes it, and each answer or request that was begun.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from lab.inside.boundary_log import BoundaryLog, ConnectionLog
from lab.inside.framing import Decoder, Framing, FramingError


class _Connection:
    """One logged connection."""

    def __init__(self, log: ConnectionLog, incoming: Framing, outgoing: Framing) -> None:
        self.log = log
        self._taken = _Ends(incoming, log.message_taken)
        self._sent = _Ends(outgoing, log.message_sent)

    def came(self, data: bytes, asked: int, begin_ns: int, end_ns: int) -> None:
        self.log.recv(len(data), asked, begin_ns, end_ns)
        self._taken.passed(data, len(data))

    def went(self, data: bytes | memoryview, count: int, begin_ns: int, end_ns: int) -> None:
        self.log.send(count, len(data), begin_ns, end_ns)
        self._sent.passed(bytes(data[:count]), len(data))


class _Ends:
    """Where messages end in the bytes of one direction."""

    def __init__(self, framing: Framing, note: Callable[[int], None]) -> None:
        self._framing = framing
        self._note = note
        # HTTP's headers are whatever the other end writes: a message does not tell how long its frame was.
        self._decoder: Decoder | None = None if framing.text == "http" else framing.decoder()
        self._offset = 0
        self._last = 0

    def passed(self, data: bytes, offered: int) -> None:
        """Take bytes that passed; `offered` is how many the call had to move."""
        start, self._offset = self._offset, self._offset + len(data)
        if self._framing.transparent:
            # A call that moved only a part is followed by one that offers the rest, with the same end.
            self._end(start + offered)
            return
        if self._decoder is None:
            return
        end = start - self._decoder.kept
        try:
            messages = self._decoder.feed(data)
        except FramingError as error:
            messages, self._decoder = error.messages, None  # nothing after this can be trusted
        for message in messages:
            end += len(self._framing.encode(message))
            self._end(end)

    def _end(self, offset: int) -> None:
        if offset > self._last:
            self._last = offset
            self._note(offset)


class Tap:
    """The logged connections of one process, by descriptor."""

    def __init__(self, most: int, *, incoming: Framing, outgoing: Framing) -> None:
        self._log = BoundaryLog(most)
        self._incoming = incoming
        self._outgoing = outgoing
        self._connections: dict[int, _Connection | None] = {}

    def read(self, fd: int, size: int) -> bytes:
        """`os.read`."""
        begin = time.time_ns()
        data = os.read(fd, size)
        if data and (one := self._find(fd, begin)):
            one.came(data, size, begin, time.time_ns())
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """`os.write`."""
        begin = time.time_ns()
        count = os.write(fd, data)
        if one := self._find(fd, begin):
            one.went(data, count, begin, time.time_ns())
        return count

    def forget(self, fd: int) -> None:
        """Call before the descriptor is closed: its number will come again."""
        self._connections.pop(fd, None)

    def store(self, program: str) -> None:
        """Write the log as `boundaries-<program>.json`."""
        self._log.store(program)

    def _find(self, fd: int, now_ns: int) -> _Connection | None:
        if fd not in self._connections:
            self._connections[fd] = None if self._log.full else self._open(fd, now_ns)
        return self._connections[fd]

    def _open(self, fd: int, now_ns: int) -> _Connection | None:
        sock = socket.socket(fileno=fd)
        try:
            log = self._log.open("tcp", sock.getsockname(), sock.getpeername())
            if log is None:
                return None
            log.read_options(sock, now_ns)
        except OSError:  # reset this moment
            return None
        finally:
            sock.detach()
        return _Connection(log, self._incoming, self._outgoing)
