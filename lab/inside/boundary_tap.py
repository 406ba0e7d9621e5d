"""The boundary log of a program's connections: what passes, and where its messages end.

A program that holds bare descriptors (a fleet's worker, the epoll servers) calls `read` and `write` of a tap instead of
the system's when a scenario asks for `boundaries`; one that holds sockets gets sockets that call the tap
(`boundary_sockets.py`). Otherwise a tap costs nothing, being nowhere. Of the first connections every call is noted
(`boundary_log.py`), of the others nothing.

Where the messages that it took end, a server tells itself (`took`): what it made of the bytes is what the ledger is
about, and its mistakes must show. For what is sent, and for programs that do not tell, their framing is run over the
bytes that pass: of `none` each recv is a message, as the program takes it, and each answer or request that was begun. A
datagram is a message, known by its number.
"""

from __future__ import annotations

import os
import socket
import time
from itertools import accumulate

from lab.inside.boundary_log import BoundaryLog, ConnectionLog, own_end
from lab.inside.framing import Framing, FramingError
from lab.inside.numbered import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol
else:
    Protocol = object


class Passing(Protocol):
    """One logged connection: told of every call that moved something."""

    def came(self, data: bytes, asked: int, begin_ns: int, end_ns: int) -> None: ...

    def went(self, data: bytes | memoryview, count: int, begin_ns: int, end_ns: int) -> None: ...

    def took(self, messages: list[bytes], kept: int | None, passed: int | None = None) -> None:
        """The program took these for messages, the last ending `kept` before the `passed`-th byte (default: the last
        that came); `kept` None: one after the other from where the last one ended, and then the framing was broken."""


class Tap:
    """The logged connections of one process."""

    def __init__(self, most: int, *, incoming: Framing, outgoing: Framing, protocol: str = "tcp") -> None:
        self._log = BoundaryLog(most)
        self._incoming = incoming
        self._outgoing = outgoing
        self._protocol = protocol
        self._connections: dict[int, Passing | None] = {}
        self.program_tells = False
        """The program calls `took`: set before the first connection is opened."""
        self._admitted = 0
        self._most = most

    def admit(self) -> bool:
        """Whether a connection that was just accepted is among the first."""
        self._admitted += 1
        return self._admitted <= self._most

    def open(self, sock: Any, peer: tuple[str, int] | None = None) -> Passing | None:
        """Begin the log of a connection (of what a datagram socket exchanges with `peer`); None if enough are logged.

        `sock` is anything with a socket's `getsockname`, `getpeername` and `getsockopt`.
        """
        try:
            remote = peer or sock.getpeername()
            log = self._log.open(self._protocol, own_end(sock.getsockname(), remote), remote)
            if log is None:
                return None
            log.read_options(sock, time.time_ns())
        except OSError:  # reset this moment
            return None
        if self._protocol == "udp":
            return Datagrams(log)
        return _Stream(log, self._incoming, self._outgoing, self.program_tells)

    def read(self, fd: int, size: int) -> bytes:
        """`os.read`."""
        begin = time.time_ns()
        data = os.read(fd, size)
        if data and (one := self._find(fd)):
            one.came(data, size, begin, time.time_ns())
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """`os.write`."""
        begin = time.time_ns()
        count = os.write(fd, data)
        if one := self._find(fd):
            one.went(data, count, begin, time.time_ns())
        return count

    def took(self, fd: int, messages: list[bytes], kept: int | None) -> None:
        """What the program made of all that came so far on a descriptor; `Passing.took` says the rest."""
        if one := self._find(fd):
            one.took(messages, kept)

    def forget(self, fd: int) -> None:
        """Call before the descriptor is closed: its number will come again."""
        self._connections.pop(fd, None)

    def store(self, program: str) -> None:
        """Write the log as `boundaries-<program>.json`."""
        self._log.store(program)

    def _find(self, fd: int) -> Passing | None:
        if fd not in self._connections:
            self._connections[fd] = None if self._log.full else self._open_descriptor(fd)
        return self._connections[fd]

    def _open_descriptor(self, fd: int) -> Passing | None:
        try:
            sock = socket.socket(fileno=fd)
        except OSError:  # reset this moment
            return None
        try:
            return self.open(sock)
        finally:
            sock.detach()


class _Stream:
    """A TCP connection."""

    def __init__(self, log: ConnectionLog, incoming: Framing, outgoing: Framing, told: bool) -> None:
        self._log = log
        self._incoming = incoming
        self._told = told and not incoming.transparent  # without a framing a recv is the message, whoever tells
        self._last_taken = 0
        self._taken = _Ends(incoming, log.message_taken)
        self._sent = _Ends(outgoing, log.message_sent)

    def came(self, data: bytes, asked: int, begin_ns: int, end_ns: int) -> None:
        self._log.recv(len(data), asked, begin_ns, end_ns)
        if not self._told:
            self._taken.passed(data, len(data))

    def took(self, messages: list[bytes], kept: int | None, passed: int | None = None) -> None:
        if not self._told or not messages:
            return
        sizes = [_framed_bytes(self._incoming, message) for message in messages]
        last = self._last_taken + sum(sizes)
        if kept is not None:
            last = (self._log.received_bytes if passed is None else passed) - kept
        start = last - sum(sizes)  # backwards: where the last one ends is known
        for end in accumulate(sizes, initial=start):
            if end > start:
                self._log.message_taken(end)
        self._last_taken = last

    def went(self, data: bytes | memoryview, count: int, begin_ns: int, end_ns: int) -> None:
        self._log.send(count, len(data), begin_ns, end_ns)
        self._sent.passed(bytes(data[:count]), len(data))


class Datagrams:
    """What a datagram socket exchanges with one peer."""

    def __init__(self, log: ConnectionLog) -> None:
        self._log = log

    def came(self, data: bytes, asked: int, begin_ns: int, end_ns: int, whole: int | None = None) -> None:
        """`whole` is the datagram's own length, where the buffer took less."""
        self._log.recv(len(data), asked, begin_ns, end_ns, len(data) if whole is None else whole, number_of(data))
        self._log.message_taken()

    def went(self, data: bytes | memoryview, count: int, begin_ns: int, end_ns: int) -> None:
        self._log.send(count, len(data), begin_ns, end_ns, count, number_of(data))
        self._log.message_sent()

    def took(self, messages: list[bytes], kept: int | None, passed: int | None = None) -> None:
        """A datagram is a message: nothing to tell."""


def _framed_bytes(framing: Framing, message: bytes) -> int:
    try:
        return len(framing.encode(message))
    except FramingError:  # no message of this framing, though the program took it for one
        return len(message)


class _Ends:
    """Where messages end in the bytes of one direction."""

    def __init__(self, framing: Framing, note: Callable[[int], None]) -> None:
        self._framing = framing
        self._note = note
        self._trusted = True
        self._kept = bytearray()
        """The start of a message whose rest has not passed."""
        self._offset = 0
        self._last = 0

    def passed(self, data: bytes, offered: int) -> None:
        """Take bytes that passed; `offered` is how many the call had to move."""
        start, self._offset = self._offset, self._offset + len(data)
        if self._framing.transparent:
            # A call that moved only a part is followed by one that offers the rest, with the same end.
            self._end(start + offered)
            return
        if not self._trusted:
            return
        start -= len(self._kept)
        self._kept += data
        used = 0
        try:
            while (end := self._framing.frame_end(self._kept, used)) is not None:
                self._end(start + end)
                used = end
        except FramingError:
            self._trusted = False  # nothing after this can be trusted
        del self._kept[:used]

    def _end(self, offset: int) -> None:
        if offset > self._last:
            self._last = offset
            self._note(offset)
