"""A worker's connections: raw descriptors, and what is known of each in arrays indexed by the descriptor.

The kernel hands out the lowest free number, so descriptors are dense and an array is the fastest map there is. A
connection costs some tens of bytes here; a Python socket object would cost over a hundred and a method lookup per
call. What the standard library cannot do on a bare descriptor (getsockopt, shutdown) borrows a socket object for that
one call.

The kernel chooses the port, and has a weakness worth knowing: connect(2) tries every even port before the first odd
one. While a source address holds fewer connections to one target than half of net.ipv4.ip_local_port_range (14,116 by
default) a connect costs some 50 us; beyond that it walks through the taken half each time, some 600 us. More targets,
more sources or a wider range keep below it.

A connection ends in exactly one of these ways, each with its counter: closed orderly, closed early by the peer, reset
by the peer, failed (or timed out) while connecting, left open at the end.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from array import array

from .counters import INDEX, error_cell
from .plan import Plan, address_family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

IP_BIND_ADDRESS_NO_PORT = 24
"""From <linux/in.h>: bind(2) takes the address now and leaves the port to connect(2), which may share ports between
targets then. Without it 28,232 connections are all that one source address can hold, whatever the targets."""

NOBODY = -1
_LINGER_NONE = struct.pack("ii", 1, 0)

OPEN, OPENED, ATTEMPTED = INDEX["open"], INDEX["opened"], INDEX["attempted"]
FAILED, TIMED_OUT = INDEX["failed"], INDEX["timed_out"]
CLOSED_ORDERLY, CLOSED_EARLY, RESET = INDEX["closed_orderly"], INDEX["closed_early"], INDEX["reset_by_peer"]
RESETS = (errno.ECONNRESET, errno.EPIPE)


class Connections:
    """The descriptors of one worker and the epoll instance they are watched by."""

    def __init__(self, plan: Plan, expected: int, row: memoryview) -> None:
        self.epoll = select.epoll()
        self.row = row
        size = expected + 64
        self.number = array("q", [NOBODY]) * size
        """The connection a descriptor belongs to (0 is the host's first); NOBODY: not an open connection."""
        self.answered = bytearray(size)
        """By descriptor: 1 once the connection has had a complete answer."""
        self.on_grow: list[Callable[[int], None]] = []
        self.on_lost: list[Callable[[int], None]] = []
        """Called with the descriptor when an open connection is gone, before the descriptor is closed."""
        self._targets = plan.targets
        self._sources = plan.sources
        self._options = plan.socket_options
        self._family = address_family(plan.targets[0][0])
        kind = socket.SOCK_STREAM if plan.transport == "tcp" else socket.SOCK_DGRAM
        self._kind = kind | socket.SOCK_NONBLOCK

    @property
    def size(self) -> int:
        """The length of every array indexed by descriptor."""
        return len(self.number)

    def open_descriptors(self) -> list[int]:
        """The open connections' descriptors, in the order of their numbers."""
        number = self.number
        return sorted((fd for fd in range(len(number)) if number[fd] != NOBODY), key=number.__getitem__)

    def start(self, connection: int) -> int:
        """Begin to connect, and watch for the outcome (EPOLLOUT); returns the descriptor.

        Raises: OSError where the attempt fails at once; nothing is left open then.
        """
        self.row[ATTEMPTED] += 1
        end = socket.socket(self._family, self._kind)
        try:
            for level, option, value in self._options:
                end.setsockopt(level, option, value)
            target = self._targets[connection % len(self._targets)]
            if self._sources:
                end.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                end.bind((self._sources[connection // len(self._targets) % len(self._sources)], 0))
            outcome = end.connect_ex(target)
            if outcome not in (0, errno.EINPROGRESS):
                raise OSError(outcome, os.strerror(outcome))
            self.epoll.register(end.fileno(), select.EPOLLOUT)
        except OSError as error:
            end.close()
            self.connect_failed(error.errno)
            raise
        fd = end.detach()
        if fd >= len(self.number):
            self._grow(fd + 1)
        return fd

    def _grow(self, size: int) -> None:
        more = size + size // 4 - len(self.number)
        self.number.extend(array("q", [NOBODY]) * more)
        self.answered.extend(bytes(more))
        for grow in self.on_grow:
            grow(len(self.number))

    def established(self, fd: int, connection: int) -> None:
        """Take in a connection whose connect succeeded, and watch it for data from now on."""
        self.epoll.modify(fd, select.EPOLLIN)
        self.number[fd] = connection
        self.answered[fd] = 0
        self.row[OPENED] += 1
        self.row[OPEN] += 1

    def connect_failed(self, number: int | None) -> None:
        """Count a connect that ended in an errno."""
        self.row[TIMED_OUT if number == errno.ETIMEDOUT else FAILED] += 1
        self.row[error_cell(number or 0)] += 1

    def abandon(self, fd: int, number: int) -> None:
        """Close a descriptor that was still connecting, and count why."""
        os.close(fd)
        self.connect_failed(number)

    def lost(self, fd: int, number: int) -> None:
        """Close an open connection on which the peer sent FIN (`number` 0) or that broke with an errno."""
        if number == 0:
            self.row[CLOSED_EARLY] += 1
        else:
            self.row[error_cell(number)] += 1
            if number in RESETS:
                self.row[RESET] += 1
        self._forget(fd)

    def closed_orderly(self, fd: int) -> None:
        """Close a descriptor and count the close as orderly."""
        self.row[CLOSED_ORDERLY] += 1
        self._forget(fd)

    def gave_up(self, fd: int) -> None:
        """Close a connection whose peer did not finish the end of it in time; who calls counts why."""
        self._forget(fd)

    def _forget(self, fd: int) -> None:
        self.row[OPEN] -= 1
        for hear in self.on_lost:
            hear(fd)
        self.number[fd] = NOBODY
        os.close(fd)


def pending_error(fd: int) -> int:
    """The socket's pending error, which reading takes away (SO_ERROR of socket(7))."""
    return _borrow(fd, lambda end: end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def half_close(fd: int) -> None:
    """Send FIN and keep on reading: shutdown(2) with SHUT_WR."""
    _borrow(fd, lambda end: end.shutdown(socket.SHUT_WR))


def abort_on_close(fd: int) -> None:
    """Make close(2) send RST: SO_LINGER with a time of 0 (socket(7))."""
    _borrow(fd, lambda end: end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE))


def _borrow(fd: int, use: Callable[[socket.socket], T]) -> T:
    # Family, type and protocol given: else three system calls ask for them. The calls lent for do not look at them.
    end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fd)
    try:
        return use(end)
    finally:
        end.detach()
