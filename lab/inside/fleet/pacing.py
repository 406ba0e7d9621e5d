"""When arrival k is due, and the timer that wakes a worker for it.

Arrivals of a host are numbered 0, 1, 2, ... through all its workers and due at `start + k / rate`. Worker w of n
takes every k with `k mod n = w`, so that the host's arrivals are evenly spaced however many workers share them. Due
times are computed from k, never by adding an interval up, so no rounding error grows.

The wake-up is a timerfd (timerfd_create(2)) among the worker's other descriptors: about 60 us late, where a timeout of
epoll_wait(2) counts in milliseconds.
"""

from __future__ import annotations

import os
import struct
import sys
import time

from lab.inside.frozen import frozen
from lab.inside.native import Int, Library, Pointer, get_errno

NS = 1_000_000_000


@frozen
class Pace:
    """The due times of one worker's arrivals."""

    start_ns: int
    rate_per_s: float
    """Of the whole host."""
    worker: int = 0
    workers: int = 1

    def due_ns(self, i: int) -> int:
        """When this worker's i-th arrival (from 0) is due."""
        return self.start_ns + int((self.worker + i * self.workers) * NS / self.rate_per_s)

    def count_within(self, duration_ns: int) -> int:
        """How many of this worker's arrivals are due before the duration is over."""
        low, high = 0, int(duration_ns * self.rate_per_s / NS / self.workers) + 2
        while low < high:
            middle = (low + high) // 2
            if self.due_ns(middle) < self.start_ns + duration_ns:
                low = middle + 1
            else:
                high = middle
        return low


class Timer:
    """A timerfd on CLOCK_MONOTONIC: readable once the time it was armed for has come."""

    def __init__(self) -> None:
        self.fd = _create()
        self._armed_ns = 0

    def arm(self, at_ns: int) -> None:
        """Make the descriptor readable at `at_ns`; a time in the past counts as now."""
        if at_ns != self._armed_ns:
            self._armed_ns = at_ns
            _set(self.fd, max(at_ns, 1))

    def clear(self) -> None:
        """Take note that it fired; it stays silent until armed again."""
        self._armed_ns = 0
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def disarm(self) -> None:
        """Silence it whether or not it fired."""
        _set(self.fd, 0)
        self.clear()

    def close(self) -> None:
        os.close(self.fd)


_NONBLOCK, _CLOEXEC, _ABSOLUTE = os.O_NONBLOCK, os.O_CLOEXEC, 1

if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=_NONBLOCK | _CLOEXEC)

    def _set(fd: int, at_ns: int) -> None:
        os.timerfd_settime_ns(fd, flags=_ABSOLUTE, initial=at_ns)

else:  # Python 3.11 and 3.12 do not offer these calls, but their C library does
    _libc = Library(None)
    _timerfd_create = _libc.function("timerfd_create", Int, Int)
    _timerfd_settime = _libc.function("timerfd_settime", Int, Int, Pointer, Pointer)
    _itimerspec = struct.Struct("qqqq")  # interval seconds and nanoseconds, first expiry seconds and nanoseconds

    def _create() -> int:
        fd: int = _timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if fd < 0:
            raise OSError(get_errno(), "timerfd_create failed")
        return fd

    def _set(fd: int, at_ns: int) -> None:
        when = _itimerspec.pack(0, 0, at_ns // NS, at_ns % NS)
        if _timerfd_settime(fd, _ABSOLUTE, when, None) != 0:
            raise OSError(get_errno(), "timerfd_settime failed")
