"""The slow-read phase: ask for much, read little. The window closes, and the server has to wait.

Each connection sends its messages at once and then reads at its rate, in small sips; epoll is told to keep quiet
about what lies there, or it would report it over and over. When the time is over the rest is read at full speed. A
server that buffers without bound grows in memory here; one that waits in send(2) shows zero windows in the capture.
"""

from __future__ import annotations

import select
import time
from array import array

from .connections import NOBODY
from .exchange import LOST, READ_BYTES, Exchange
from .open_load import await_answers
from .phases import SlowRead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

SIP_NS = 10_000_000
"""Time between two rounds of sips."""
COST_NS = 20_000
"""What a sip costs at most; with so many connections that a round takes longer than a sip's time, rounds are rarer."""


def run(worker: Worker, phase: SlowRead, start_ns: int) -> None:
    epoll, number = worker.connections.epoll, worker.connections.number
    fds = worker.active(phase.active_share)
    end = start_ns + phase.duration_ns
    with Exchange(worker, phase.messages) as exchange:
        exchange.interest = 0
        for fd in fds:
            epoll.modify(fd, 0)
            for _ in range(phase.messages):
                if exchange.begin(fd, None) == LOST:
                    break
        _sip(worker, phase, start_ns, fds, exchange)
        exchange.interest = select.EPOLLIN
        for fd in fds:
            if number[fd] != NOBODY:
                epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)  # room to send is looked at once, then forgotten
        await_answers(worker, exchange, end + phase.grace_ns)
        for fd in fds:
            if number[fd] != NOBODY:
                epoll.modify(fd, select.EPOLLIN)


def _sip(worker: Worker, phase: SlowRead, start_ns: int, fds: list[int], exchange: Exchange) -> None:
    """Read from every connection what its rate allows, round by round until the phase is over."""
    end = start_ns + phase.duration_ns
    pause = max(SIP_NS, len(fds) * COST_NS)
    taken = array("q", bytes(8 * worker.connections.size))
    due = start_ns
    while (now := time.monotonic_ns()) < end and not worker.stopping:
        if now >= due:
            due = now + pause
            allowed = int(phase.bytes_per_s * (now - start_ns) / 1e9)
            for fd in fds:
                sip = min(allowed - taken[fd], READ_BYTES)
                if sip > 0 and worker.connections.number[fd] != NOBODY and exchange.waiting[fd]:
                    taken[fd] += sip
                    exchange.take(fd, sip)
        worker.timer.arm(min(due, end))
        for fd, events in worker.poll(end):
            exchange.event(fd, events)
