"""The epoll server once more, its system calls made by machine code: what is left when the interpreter is out of the
way.

**What it is for.** "Python is slow" and "the kernel is what takes time" are both said of servers. Here is
`epoll_server.py` with everything between one system call and the next compiled, and with nothing else changed: the
same epoll object, the same three kinds of call in the same order, the same handler in Python. The difference between
the two is what the interpreter costs a server that waits well.

**What is compiled.** `epoll_compiled_turn.py`: send all answers, wait, receive from all that are ready. The lab makes a
kilobyte of machine code of that text, once, and hosts load it (`lab/inside/machine_code.py`); where there is none, the
interpreter runs the text, and the result says so (`turn`). Everything else (accepting, what a peer leaves unread, the
end of a connection, the stop) is inherited.

**What it costs.** Messages lie end to end in one buffer, and so do answers. So the interpreter gives up its lock once a
turn, not twice a message; its code is not driven out of the processor's caches between two calls; and memory for what
is received is asked for once a turn.

**Where it breaks.** Where epoll does. The handler and everything about a connection but its reads and writes are still
Python: one that computes costs here what it costs there.

epoll(7), and what `epoll_server.py` names.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
from array import array
from functools import partial
from io import BytesIO

from lab.inside import lifecycle, loop_calls, machine_code
from lab.inside.loop_calls import MOST_EVENT_BYTES, Calls
from lab.inside.native import Memory
from lab.inside.servers import epoll_compiled_turn as compiled
from lab.inside.servers.epoll_server import EpollServer
from lab.inside.servers.startup import Server, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BUFFER_BYTES = 1024 * 1024
"""Room for what one turn receives; a single recv may always be whole."""


def serve(server: Server, listener: socket.socket) -> None:
    """Serve all connections of one listener in this thread until the stop."""
    EpollCompiledServer(server, listener).loop()


class EpollCompiledServer(EpollServer):
    """The epoll server, but for how it waits, receives and sends."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        super().__init__(server, listener)
        self.turn = Turn(self)
        server.extra["turn"] = self.turn.runs_as
        if self.turn.runs_as != machine_code.MACHINE_CODE:
            lifecycle.say(f"turns are taken by the {self.turn.runs_as}")

    def loop(self) -> None:
        """Take turns until the stop has come and every connection has ended."""
        count, turn = self.count, self.turn
        answer = self.server.service.direct
        while self.listening or count.open:
            turn.take()
            received = self.sort_out() if turn.unusual else turn.received()
            if answer is not None:
                count.messages += len(received)
                count.bytes_in += sum(map(len, received))
                count.bytes_out += turn.answer_with(list(map(answer, received)))
            else:
                for descriptor, data in zip(turn.descriptors, received, strict=False):
                    self.exchange(descriptor, data)

    def sort_out(self) -> list[bytes]:
        """Do what is to be done where a turn was not just answers sent and data received; gives what was received."""
        turn = self.turn
        for descriptor, reply, sent in turn.answers_sent():
            self.sent(descriptor, reply, sent)
        stream, special = turn.stream(), []
        descriptors, received = [], []
        for descriptor, size in turn.reads():
            data = b""
            if size > 0:
                data = stream.read(size)
            elif size == 0:  # the peer's FIN; all it sent before that has been answered
                self.close(descriptor)
            elif size != compiled.NOT_READ:
                self.read_failed(descriptor, OSError(-size, os.strerror(-size)))
            elif descriptor in turn.special:
                special.append(descriptor)
            elif descriptor in self.unsent:
                self.send_rest(descriptor)
            else:  # readable, and the peer has hung up besides
                data = b"".join(self.receive([descriptor])[1])
            if data:
                descriptors.append(descriptor)
                received.append(data)
        for descriptor in sorted(special, key=turn.special.index):
            self.accept() if descriptor == self.listener.fileno() else self.signalled()
        turn.work_on(descriptors)
        return received

    def sent(self, descriptor: int, reply: bytes, sent: int) -> None:
        """What the send buffer did not take of a reply, which was counted as sent, waits for room."""
        part: int | None = sent
        if sent < 0:
            part = self.write_failed(descriptor, OSError(-sent, os.strerror(-sent)))
        self.count.bytes_out -= len(reply) - (part or 0)
        if part is not None and part < len(reply):
            self.wait_for_room(descriptor, reply[part:])


class Turn:
    """The memory that a turn works on, and what runs it: machine code, or the interpreter."""

    def __init__(self, server: EpollServer) -> None:
        self.special = [server.listener.fileno(), server.server.signals.wakeup_fd]
        """Descriptors that are no connections, in the order in which they are seen to: a stop closes the listener."""
        recv_size = server.server.settings.recv_size
        self._it = it = array("q", [0]) * compiled.SIZE
        it[compiled.EPOLL], it[compiled.RECV_SIZE] = server.epoll.fileno(), recv_size
        it[compiled.LISTENER], it[compiled.WAKEUP] = self.special
        it[compiled.ROOM] = max(BUFFER_BYTES, recv_size)
        self.descriptors, self._counts, self._lengths = (array("q", [0]) * compiled.EVENTS for _ in range(3))
        self._buffer = mmap.mmap(-1, it[compiled.ROOM])  # pages that nothing is received into are never there
        self._replies: list[bytes] = []
        self._answers = b""
        texts = (compiled.__file__, loop_calls.__file__)
        code, self.runs_as = machine_code.load_or_none(*texts, calls=loop_calls.FUNCTIONS, arguments=7)
        self._run = self._runner(code, server)

    def _runner(self, code: Callable[..., None] | None, server: EpollServer) -> Callable[[bytes], object]:
        """Return what takes a turn, given the answers."""
        arrays = (self._it, self.descriptors, self._counts, self._lengths)
        if code is None:
            calls = Calls(server.epoll.poll, os.read, os.write)
            return partial(compiled.turn, calls, *arrays, [], self._buffer)
        self._events = array("B", bytes(compiled.EVENTS * MOST_EVENT_BYTES))
        self._memory = Memory.of(self._buffer)  # kept: this is what the code is lent
        addresses = [memory.buffer_info()[0] for memory in (*arrays, self._events)]
        return partial(code, *addresses, self._memory.address)

    def answer_with(self, replies: list[bytes]) -> int:
        """Have the next turn begin with these, one for each of `descriptors`; returns how many bytes they are."""
        self._replies = replies
        self._answers = b"".join(replies)
        self._lengths[: len(replies)] = array("q", map(len, replies))
        self._it[compiled.ANSWERS] = len(replies)
        return len(self._answers)

    def take(self) -> None:
        """Take a turn. Raises OSError where waiting failed."""
        self._run(self._answers)
        ready = self._it[compiled.READY]
        if ready < 0:  # a signal, unless waiting failed
            if ready != -errno.EINTR:
                raise OSError(-ready, os.strerror(-ready))
            self._it[compiled.READY] = 0

    @property
    def unusual(self) -> int:
        """How many calls did not give what they usually give."""
        return self._it[compiled.UNUSUAL]

    def received(self) -> list[bytes]:
        """What was read from each of `descriptors`, if nothing was unusual."""
        return list(map(self.stream().read, self._counts[: self._it[compiled.READY]]))

    def stream(self) -> BytesIO:
        """All that was received, end to end."""
        return BytesIO(memoryview(self._buffer)[: self._it[compiled.RECEIVED]])

    def reads(self) -> list[tuple[int, int]]:
        """Each descriptor that was ready, and what its read gave."""
        ready = self._it[compiled.READY]
        return list(zip(self.descriptors[:ready], self._counts[:ready], strict=True))

    def answers_sent(self) -> list[tuple[int, bytes, int]]:
        """Where the turn ended after the answers, each descriptor, its answer, and what its write gave."""
        if self._it[compiled.READY]:
            return []
        return list(zip(self.descriptors, self._replies, self._counts, strict=False))

    def work_on(self, descriptors: list[int]) -> None:
        """Have `descriptors` be these alone: those that something was received from."""
        self.descriptors[: len(descriptors)] = array("q", descriptors)


if __name__ == "__main__":
    run("epoll-compiled", serve)
