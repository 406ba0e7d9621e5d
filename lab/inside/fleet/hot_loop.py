"""The closed load's commonest form as one tight loop: one small request at a time, answers of a known size.

What a client in C would do: epoll_wait(2), read(2) and look at the answer of each ready connection, then write(2) to
each of them. First all reads, then all writes: with one kind of system call in a row its code is still in the
processor's caches, and an answer waits for fewer of its neighbours until it is read. Whatever is not simply the one
right answer in the middle of a load (a part of one, a first one, a last one, an error) ends the loop: the caller sees
to it, and calls again.

This file is read in two ways. The interpreter runs it as it stands, with the calls of `../loop_calls.py`; and the lab
compiles the same text to a kilobyte of machine code (`lab/engines/machine_code.py`), which hosts without a compiler
load (`../machine_code.py`): there the calls are the C library's. So what happens to a message is written once, in
nothing but numbers, in memory that the caller lends.
"""

from __future__ import annotations

from lab.inside.loop_calls import clock_ns, descriptor, read, same, wait, write

from .latency_log import WORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

    from lab.inside.loop_calls import Calls, Events

EPOLL, WAIT_MS, REQUEST, ANSWER, FLOOR, PHASE, KIND, UNTIL_NS, FULL = range(9)
"""What the caller sets in `it`: the epoll instance; how long to wait for events; bytes of a request and of an answer;
what `left` must stay above; what to write into records; when to come back at the latest (it is looked at once a batch);
and how many numbers in `records` are so many that the loop must end."""
READY, TAKEN, ANSWERED, ASKED, RECORDED = range(9, 14)
"""How far the loop is in its batch: events that epoll gave, those of them whose connection was read; answers that
were right, those of them whose connection was asked again; numbers in `records`."""
FD, COUNT, NOW_NS = range(14, 17)
"""What ended the loop: a descriptor; what the call gave, or the negated errno; when the last read was done."""
OUTCOME = 17
SIZE = 18
"""Numbers in `it`."""
GOES_ON, PAUSE, QUIET, UNUSUAL_READ, UNUSUAL_WRITE = range(5)
"""Outcomes but the first: it is time to come back, or records are full; epoll gave nothing; see FD and COUNT."""
EVENTS = 256
"""Events taken from epoll at once."""


def hot_loop(
    calls: Calls,
    it: array[int],
    left: array[int],
    names: array[int],
    sent: array[int],
    again: array[int],
    records: array[int],
    events: Events,
    buffer: bytearray,
    expected: bytes | None,
    request: bytes,
) -> None:
    """Ask and be answered until something ends the loop, which `it[OUTCOME]` tells.

    By descriptor: `left`, answers still wanted, the outstanding one included; `names`, the connection's number in the
    fleet; `sent`, when its request left. `again` has room for a batch, `buffer` for an answer and one byte.
    """
    epoll, wait_ms, until, full = it[EPOLL], it[WAIT_MS], it[UNTIL_NS], it[FULL]
    request_bytes, answer_bytes, floor, phase, kind = it[REQUEST], it[ANSWER], it[FLOOR], it[PHASE], it[KIND]
    ready, taken, answered, asked, recorded = it[READY], it[TAKEN], it[ANSWERED], it[ASKED], it[RECORDED]
    fd, count, now, outcome = 0, 0, it[NOW_NS], GOES_ON
    while outcome == GOES_ON:
        while taken < ready:
            fd = descriptor(events, taken)
            taken += 1
            count = read(calls, fd, buffer, 0, answer_bytes + 1)
            now = clock_ns(calls)
            rest = left[fd] - 1
            if count != answer_bytes or rest <= floor or not same(calls, buffer, expected, answer_bytes):
                outcome = UNUSUAL_READ
                break
            left[fd] = rest
            records[recorded] = names[fd]
            records[recorded + 1] = phase
            records[recorded + 2] = kind
            records[recorded + 3] = records[recorded + 4] = sent[fd]
            records[recorded + 5] = now
            recorded += WORDS
            again[answered] = fd
            answered += 1
        while asked < answered and outcome == GOES_ON:
            fd = again[asked]
            asked += 1
            sent[fd] = clock_ns(calls)
            count = write(calls, fd, request, 0, request_bytes)
            if count != request_bytes:
                outcome = UNUSUAL_WRITE
        if outcome == GOES_ON:
            taken = answered = asked = 0
            if now >= until or recorded >= full:
                ready, outcome = 0, PAUSE
            else:
                ready = wait(calls, epoll, events, EVENTS, wait_ms)
                if ready <= 0:
                    count, ready, outcome = ready, 0, QUIET
    it[READY], it[TAKEN], it[ANSWERED], it[ASKED], it[RECORDED] = ready, taken, answered, asked, recorded
    it[FD], it[COUNT], it[NOW_NS], it[OUTCOME] = fd, count, now, outcome
