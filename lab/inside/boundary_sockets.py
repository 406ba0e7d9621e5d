"""Sockets that note what their calls move: how a server's boundaries are logged without a line in its loop.

A model accepts from its listener, and calls `recv`, `send` and `sendall` of what it gets, by itself or through a
library (asyncio, tornado, socketserver). So the listener it is handed decides: one of `logged_listener` accepts
connections of a class that does the same and tells the tap (`boundary_tap.py`). Where a library brings sockets of its
own, `logged` makes one of those note its calls (gevent), and `LoggedAwaited` one whose calls are awaited (trio).

A `sendall` is noted as the `send` calls it consists of. Reading with MSG_PEEK moves nothing and is not noted.

Not every model can have it: io_uring makes no calls, uvloop makes them in C on bare descriptors, twisted sends out of a
buffer of its own on sockets it opened itself. Those say so (`Model.cannot`).
"""

from __future__ import annotations

import functools
import socket
import threading
import time
from collections.abc import Callable, Iterable

from lab.inside.boundary_tap import Datagrams, Passing, Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GetTap = Callable[[], Tap | None]
"""The tap of this process: a socket that a child inherits is noted there."""


def logged_listener(listener: socket.socket, tap: GetTap) -> socket.socket:
    """Return the same listening socket as one that accepts logged connections; of datagrams: as a logged socket."""
    kind = _Listener if listener.type == socket.SOCK_STREAM else _DatagramSocket
    made = kind(listener.family, listener.type, listener.proto, listener.detach())
    made.tap = tap
    return made


def logged(connection: Any, tap: GetTap) -> Any:
    """Return the same connection as one that notes its calls, if it is among the first; else itself."""
    mine = tap()
    if mine is None or not mine.admit():
        return connection
    kind: Any = type(connection)
    made = logging_class(kind)(connection.family, connection.type, connection.proto, fileno=connection.detach())
    made.tap = tap
    return made


def passing_of(connection: Any) -> Passing | None:
    """Return the log of a connection by what a library hands out for it: the socket, a stream, a transport."""
    for _ in range(3):
        if hasattr(connection, "noted"):
            found: Passing | None = connection.noted()
            return found
        if hasattr(connection, "get_extra_info"):  # asyncio's transports and writers
            connection = connection.get_extra_info("socket")
        else:  # a stream of trio's or tornado's; asyncio's coat round a socket
            connection = getattr(connection, "socket", None) or getattr(connection, "_sock", None)
    return None


class _Listener(socket.socket):
    """Accepts logged connections."""

    tap: GetTap

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        return logged(connection, self.tap), address

    def dup(self) -> _Listener:
        copy = super().dup()
        copy.tap = self.tap
        return copy


@functools.cache
def logging_class(base: Any) -> Any:
    """Return a subclass of a socket class whose calls tell the tap."""

    class Logged(base):  # type: ignore[misc]  # whatever class of sockets a library has
        """A connection."""

        tap: GetTap
        note: Passing | None
        """Opened with the first call: in the process that makes it."""

        def noted(self) -> Passing | None:
            if not hasattr(self, "note"):
                tap = self.tap()
                self.note = tap.open(self) if tap else None
            return self.note

        def recv(self, size: int, flags: int = 0) -> bytes:
            begin = time.time_ns()
            data: bytes = super().recv(size, flags)
            if data and not flags & socket.MSG_PEEK and (one := self.noted()):
                one.came(data, size, begin, time.time_ns())
            return data

        def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
            begin = time.time_ns()
            count: int = super().recv_into(buffer, nbytes, flags)
            if count and not flags & socket.MSG_PEEK and (one := self.noted()):
                view = memoryview(buffer).cast("B")
                one.came(bytes(view[:count]), nbytes or len(view), begin, time.time_ns())
            return count

        def send(self, data: bytes | memoryview, flags: int = 0) -> int:
            begin = time.time_ns()
            count: int = super().send(data, flags)
            if one := self.noted():
                one.went(data, count, begin, time.time_ns())
            return count

        def sendall(self, data: bytes | memoryview, flags: int = 0) -> None:
            left = memoryview(data)
            while left:
                left = left[self.send(left, flags) :]

        def sendmsg(self, buffers: Iterable[bytes], *more: Any) -> int:
            begin, pieces = time.time_ns(), list(buffers)
            count: int = super().sendmsg(pieces, *more)
            if one := self.noted():
                one.went(b"".join(pieces), count, begin, time.time_ns())
            return count

    return Logged


class LoggedAwaited:
    """A socket whose `recv` and `send` are awaited; all else is the socket's own."""

    def __init__(self, sock: Any, tap: Tap) -> None:
        self._sock = sock
        self._tap = tap
        self._note: Passing | None = None

    async def recv(self, size: int) -> bytes:
        begin = time.time_ns()
        data: bytes = await self._sock.recv(size)
        if data and (one := self.noted()):
            one.came(data, size, begin, time.time_ns())
        return data

    async def send(self, data: bytes | memoryview) -> int:
        begin = time.time_ns()
        count: int = await self._sock.send(data)
        if one := self.noted():
            one.went(data, count, begin, time.time_ns())
        return count

    def noted(self) -> Passing | None:
        self._note = self._note or self._tap.open(self._sock)
        return self._note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _DatagramSocket(socket.socket):
    """A server's datagram socket: what it exchanges with each of its first peers is noted."""

    tap: GetTap

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._by_peer: dict[Any, Datagrams] = {}
        self._lock = threading.Lock()  # answers may be sent by many threads, and offsets must follow one another

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, _ancillary, _flags, peer = self.recvmsg(size, 0, flags)
        return data, peer

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
        buffer, begin = bytearray(size), time.time_ns()
        # MSG_TRUNC makes the kernel tell how long the datagram was, whatever the buffer took (udp(7)).
        whole, more, came_flags, peer = self.recvmsg_into([buffer], ancillary, flags | socket.MSG_TRUNC)
        data = bytes(buffer[:whole])
        with self._lock:
            if one := self._noted(peer):
                one.came(data, size, begin, time.time_ns(), whole)
        return data, more, came_flags, peer

    def sendto(self, data: Any, *where: Any) -> int:
        begin = time.time_ns()
        count = super().sendto(data, *where)
        with self._lock:
            if one := self._noted(where[-1]):
                one.went(data, count, begin, time.time_ns())
        return count

    def _noted(self, peer: Any) -> Datagrams | None:
        if peer not in self._by_peer:
            tap = self.tap()
            opened = tap.open(self, peer) if tap else None
            if not isinstance(opened, Datagrams):
                return None
            self._by_peer[peer] = opened
        return self._by_peer[peer]

    def dup(self) -> _DatagramSocket:
        copy = super().dup()
        copy.tap = self.tap
        return copy
