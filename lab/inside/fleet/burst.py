"""The burst phase: messages back to back, one send(2) each, without waiting for answers.

Small messages sent like this are what TCP may join on the way ("sticky packets", 粘包): in the sender's queue, in a
segment, or in the receiver's recv(2). With a gap the rounds are paced, and every connection sends one message a
round.
"""

from __future__ import annotations

import time

from .connections import NOBODY
from .exchange import LOST, Exchange
from .open_load import await_answers
from .phases import Burst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker


def run(worker: Worker, phase: Burst, start_ns: int) -> None:
    fds = worker.active(phase.active_share)
    with Exchange(worker, phase.messages) as exchange:
        if phase.gap_ns:
            _rounds(worker, phase, start_ns, fds, exchange)
        else:
            for fd in fds:
                if worker.stopping:
                    break
                _at_once(worker, phase.messages, fd, exchange)
                _take_answers(worker, exchange, 0)
        await_answers(worker, exchange, time.monotonic_ns() + phase.grace_ns)


def _at_once(worker: Worker, messages: int, fd: int, exchange: Exchange) -> None:
    if worker.connections.number[fd] == NOBODY:
        return
    for _ in range(messages):
        if exchange.begin(fd, None) == LOST:
            return


def _rounds(worker: Worker, phase: Burst, start_ns: int, fds: list[int], exchange: Exchange) -> None:
    for i in range(phase.messages):
        due = start_ns + i * phase.gap_ns
        while time.monotonic_ns() < due and not worker.stopping:
            worker.timer.arm(due)
            _take_answers(worker, exchange, due)
        for fd in fds:
            if worker.stopping:
                return
            if worker.connections.number[fd] != NOBODY:
                worker.lateness.add(time.monotonic_ns() - due)
                exchange.begin(fd, due)


def _take_answers(worker: Worker, exchange: Exchange, until_ns: int) -> None:
    for fd, events in worker.poll(until_ns):
        if exchange.waiting[fd]:
            exchange.event(fd, events)
        else:
            worker.idle_event(fd, events)
