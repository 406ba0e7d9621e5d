"""What compiled loops call: here for the interpreter; in machine code each is the C library's function, by its address.

Each gives what the call gave, or the negated errno.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from mmap import mmap

    Events = list[tuple[int, int]]

FUNCTIONS = ("epoll_wait", "read", "write", "memcmp", "clock_gettime", "__errno_location")
"""The C library's functions whose addresses machine code is lent as its `calls`, in this order."""
MOST_EVENT_BYTES = 16
"""Of a struct epoll_event; x86-64 packs it to 12."""


class Calls:
    """The calls in the interpreter: the system's, or those that log where messages begin and end (`Worker.read`)."""

    def __init__(
        self,
        poll: Callable[[float, int], Sequence[tuple[int, int]]],
        read: Callable[[int, int], bytes],
        write: Callable[[int, bytes | memoryview], int],
    ) -> None:
        self.poll = poll
        self.read = read
        self.write = write


def wait(calls: Calls, _epoll: int, events: Events, most: int, wait_ms: int) -> int:
    """epoll_wait(2): the number of events. Less than 0 ms: for as long as it takes."""
    events[:] = calls.poll(wait_ms / 1e3, most)
    return len(events)


def descriptor(events: Events, i: int) -> int:
    """The descriptor of an event."""
    return events[i][0]


def ready_for(events: Events, i: int) -> int:
    """What an event reports: EPOLLIN and its like."""
    return events[i][1]


def read(calls: Calls, fd: int, buffer: bytearray | mmap, at: int, most: int) -> int:
    """read(2) into the buffer from `at` on: the number of bytes."""
    try:
        data = calls.read(fd, most)
    except OSError as error:
        return -(error.errno or 0)
    count = len(data)
    buffer[at : at + count] = data
    return count


def write(calls: Calls, fd: int, data: bytes, at: int, count: int) -> int:
    """write(2) of some of the data: the number of bytes that the kernel took."""
    try:
        return calls.write(fd, data if count == len(data) else data[at : at + count])
    except OSError as error:
        return -(error.errno or 0)


def same(_calls: Calls, buffer: bytearray, expected: bytes | None, count: int) -> bool:
    """memcmp(3): whether the buffer begins with what is expected; None: anything is."""
    return expected is None or buffer[:count] == expected


def clock_ns(_calls: Calls) -> int:
    """clock_gettime(2) of CLOCK_MONOTONIC."""
    return time.monotonic_ns()
