"""One turn of the compiled epoll server: send all answers, wait, receive from all that are ready.

This file is read in two ways, as `../fleet/hot_loop.py` is: the interpreter can run it as it stands, with the calls of
`../loop_calls.py`; and the lab compiles the same text to machine code (`lab/engines/machine_code.py`), where the calls
are the C library's and nothing lies between one and the next. What is received lies end to end in one buffer, and so
do the answers: the caller takes messages out of the one and joins the other, so that Python meets bytes in bulk.

Whatever is not simply data or an answer sent is left to the caller, with what the call gave.
"""

from __future__ import annotations

from lab.inside.loop_calls import descriptor, read, ready_for, wait, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from mmap import mmap

    from lab.inside.loop_calls import Calls, Events

EPOLL, LISTENER, WAKEUP, RECV_SIZE, ROOM, ANSWERS = range(6)
"""What the caller sets in `it`: descriptors of the epoll instance, of the listener and of what signals make readable;
the most bytes that one read brings, and how many the buffer has; and how many answers are to be sent."""
READY, RECEIVED, UNUSUAL = range(6, 9)
"""What came of it: descriptors that are worked on (a negated errno, if waiting failed), bytes in the buffer, and how
many calls did not give what they usually give. If that was so with answers, the turn ended there: READY is 0, and
`counts` tells what became of each."""
SIZE = 9
"""Numbers in `it`."""
EVENTS = 128
"""Most events taken from epoll at once."""
NOT_READ = -(1 << 20)
"""In `counts`: the descriptor is not a connection's, or reports more than that it can be read."""
_EPOLLIN = 1  # <sys/epoll.h>; the same everywhere


def turn(
    calls: Calls,
    it: array[int],
    descriptors: array[int],
    counts: array[int],
    lengths: array[int],
    events: Events,
    buffer: bytearray | mmap,
    answers: bytes,
) -> None:
    """Send the answers, which have these lengths, on these descriptors; then wait, and read from what is ready.

    Afterwards `descriptors` are those that were ready, and `counts` what each read gave, in the same order: bytes, 0 at
    the end of a stream, a negated errno, or NOT_READ.
    """
    unusual, at = 0, 0
    for i in range(it[ANSWERS]):
        size = lengths[i]
        count = write(calls, descriptors[i], answers, at, size)
        counts[i] = count
        at += size
        if count != size:
            unusual += 1
    ready, at = 0, 0
    if unusual == 0:
        ready = wait(calls, it[EPOLL], events, EVENTS, -1)
        listener, wakeup, recv_size, room = it[LISTENER], it[WAKEUP], it[RECV_SIZE], it[ROOM]
        for i in range(ready):
            if room - at < recv_size:  # full: epoll will report the others again
                ready = i
                break
            fd = descriptor(events, i)
            count = NOT_READ
            if ready_for(events, i) == _EPOLLIN and fd != listener and fd != wakeup:
                count = read(calls, fd, buffer, at, recv_size)
            descriptors[i] = fd
            counts[i] = count
            if count > 0:
                at += count
            else:
                unusual += 1
    it[READY], it[RECEIVED], it[UNUSUAL] = ready, at, unusual
