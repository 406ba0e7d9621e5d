"""The socket calls a script may make, one function each, and the sockets they are made on.

Sockets are non-blocking, and a call that has to wait waits in poll(2), so that every wait has a bound. What the other
side sees is the same as with blocking calls.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from lab.inside.boundary_log import ConnectionLog, own_end
from lab.inside.framing import Decoder, FramingError, parse_framing
from lab.inside.script.kernel_sockets import Address
from lab.inside.script.names import OPTIONS
from lab.inside.script.turns import BLOCKS, DIFFERS, EOF, SUCCESS, Outcome, Step, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CALLS_KEPT = 10_000
"""Send and recv calls kept of one step; a step has fewer, but for one that moves gigabytes."""
_PATTERN = bytes(range(ord("a"), ord("z") + 1))
_HOW = {"read": socket.SHUT_RD, "write": socket.SHUT_WR, "both": socket.SHUT_RDWR}


class Held:
    """A socket by its name in the script. Its ends are remembered after it is closed: the kernel may still have it."""

    def __init__(self, *, sock: socket.socket, local: Address, remote: Address | None, protocol: str = "tcp") -> None:
        self.sock = sock
        self.local = local
        self.remote = remote
        """None: it listens."""
        self.protocol = protocol
        self.sent = self.received = 0
        """Where in each direction's stream the next call begins."""
        self.open_log: Callable[[str, Address, Address | None], ConnectionLog | None] = lambda *_: None
        """Begins a boundary log."""
        self.logs: dict[Address, ConnectionLog | None] = {}
        """By the other end: a datagram socket may have many."""
        self.decoder: Decoder | None = None
        """Of a framed stream: holds the start of the message that comes next."""
        self.decoded: list[bytes] = []
        """Whole messages that came with earlier ones and that no step has taken."""
        self.last_peer: Address | None = None
        """Of a bound datagram socket: who sent to it last."""
        self.datagrams_sent = 0

    def log_with(self, peer: Address | None = None) -> ConnectionLog | None:
        """Return the boundary log of what passes between this socket and its peer; None when enough are logged."""
        peer = peer or self.remote
        if peer is None:
            return None
        if peer not in self.logs:
            self.logs[peer] = self.open_log(self.protocol, own_end(self.local, peer), peer)
        return self.logs[peer]


class Deadline:
    """The end of a step's time."""

    def __init__(self, ns: int) -> None:
        self._end = time.monotonic() + ns / 1e9

    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def ready(self, sock: socket.socket, events: int) -> bool:
        """Wait until the socket is ready for `events` (or has failed); False when the time is over."""
        poll = select.poll()
        poll.register(sock, events)
        return bool(poll.poll(self.left_s() * 1000))


def set_option(sock: socket.socket, name: str, value: int) -> None:
    """Set an option by its name in scripts. `linger` takes seconds, and turns lingering on."""
    level, option = OPTIONS[name]
    sock.setsockopt(level, option, struct.pack("ii", 1, value) if name == "linger" else int(value))


def _new_socket(options: dict[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    for name, value in options.items():
        set_option(sock, name, value)
    return sock


def listen(step: Step) -> Held:
    """Open a listening socket. Raises OSError, EADDRINUSE for one."""
    sock = _new_socket(step["options"])
    try:
        sock.bind((step.get("bind", "0.0.0.0"), step["port"]))
        sock.listen(step["backlog"])
    except OSError:
        sock.close()
        raise
    return Held(sock=sock, local=sock.getsockname(), remote=None)


def begin_connect(step: Step) -> Held:
    """Send the SYN. Raises OSError where even that fails, EADDRNOTAVAIL for one."""
    sock = _new_socket(step["options"])
    remote = (step["address"], step["port"])
    try:
        if step.get("from_port"):
            sock.bind(("0.0.0.0", step["from_port"]))
        sock.connect(remote)
    except BlockingIOError:
        pass  # EINPROGRESS: the handshake has begun
    except OSError:
        sock.close()
        raise
    return Held(sock=sock, local=sock.getsockname(), remote=remote)


def end_connect(held: Held, deadline: Deadline) -> Outcome:
    """Wait until the connection stands. Raises OSError with the reason why it does not."""
    if not deadline.ready(held.sock, select.POLLOUT):
        return Outcome(outcome=BLOCKS)
    error = held.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "connect")
    return Outcome(details=ends(held))


def accept(listener: Held, deadline: Deadline) -> tuple[Held | None, Outcome]:
    """Take the next connection out of the accept queue; None when none came in time."""
    if not deadline.ready(listener.sock, select.POLLIN):
        return None, Outcome(outcome=BLOCKS)
    sock, remote = listener.sock.accept()
    sock.setblocking(False)
    held = Held(sock=sock, local=sock.getsockname(), remote=remote)
    return held, Outcome(details=ends(held))


def ends(held: Held) -> dict[str, Any]:
    """Return a connection's two ends, for the result."""
    return {"local": list(held.local), "remote": list(held.remote or ())}


def message(step: Step) -> bytes:
    """Return what one send of the step sends, or what its recv must bring."""
    if step.get("text") is not None:
        return str(step["text"]).encode()
    size = int(step["size"])
    return (_PATTERN * (size // len(_PATTERN) + 1))[:size]


def send(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Send the step's message `times` times, every one by calls of its own."""
    outcome = Outcome()
    data = message(step)
    if step.get("framing"):
        try:
            data = parse_framing(step["framing"]).encode(data)
        except FramingError as error:
            return failed(OSError(errno.EBADMSG, str(error)))
    log = held.log_with()
    if log is not None:
        log.read_options(held.sock, time.time_ns())
    try:
        for number in range(step.get("times", 1)):
            if number and step.get("gap"):
                time.sleep(step["gap"] / 1e9)
            rest = memoryview(data)
            while rest:
                if not deadline.ready(held.sock, select.POLLOUT):
                    outcome.outcome = BLOCKS
                    return outcome
                begin = time.time_ns()
                try:
                    count = held.sock.send(rest)
                except BlockingIOError:  # poll(2) may be wrong: it saw room that another call has taken
                    continue
                note(outcome, held.sent, count)
                if log is not None:
                    log.send(count, len(rest), begin, time.time_ns())
                held.sent += count
                rest = rest[count:]
            if log is not None:
                log.message_sent()
    except OSError as error:
        return broken(outcome, error)
    return outcome


def recv(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Receive: once, or until size, text, messages or the end is reached.

    What the step takes for a message goes into the boundary log: with a framing what that says, with `size`, `text`
    or `until` all of it, and without any of these the result of every call, as programs do that know no better.
    """
    if step.get("framing"):
        return _recv_framed(held, step, deadline)
    outcome = Outcome()
    text = message(step) if step.get("text") is not None else None
    size = len(text) if text is not None else step.get("size")
    plain = size is None and step.get("until") is None
    came = bytearray()
    try:
        while (size is None or outcome.bytes < size) and (not plain or len(outcome.calls) < step.get("times", 1)):
            data = _recv_once(held, step, deadline, outcome, None if size is None else size - outcome.bytes)
            if not data:
                break
            if text is not None:
                came += data
            if plain and (log := held.log_with()):
                log.message_taken()
            if step.get("gap"):
                time.sleep(step["gap"] / 1e9)
    except OSError as error:
        return broken(outcome, error)
    if not plain and outcome.outcome == SUCCESS and outcome.bytes and (log := held.log_with()):
        log.message_taken()
    if text is not None and outcome.outcome == SUCCESS and bytes(came) != text:
        outcome.outcome = DIFFERS
    return outcome


def _recv_once(held: Held, step: Step, deadline: Deadline, outcome: Outcome, most: int | None) -> bytes:
    """Make one recv call and log it; nothing came: the outcome tells why."""
    if not deadline.ready(held.sock, select.POLLIN):
        outcome.outcome = BLOCKS
        return b""
    asked = step["buffer"] if most is None else min(step["buffer"], most)
    begin = time.time_ns()
    data = held.sock.recv(asked)
    if not data:
        outcome.outcome = SUCCESS if step.get("until") == "eof" else EOF
        return b""
    note(outcome, held.received, len(data))
    if log := held.log_with():
        log.read_options(held.sock, begin)
        log.recv(len(data), asked, begin, time.time_ns())
    held.received += len(data)
    return data


def _recv_framed(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Receive until `times` messages are whole; the start of the next one is kept for the next step."""
    outcome = Outcome(details={"messages": 0})
    framing = parse_framing(step["framing"])
    wanted = step.get("times", 1)
    if held.decoder is None:
        held.decoder = framing.decoder()
    try:
        while len(held.decoded) < wanted:
            data = _recv_once(held, step, deadline, outcome, None)
            if not data:
                break
            before = held.decoder.kept
            messages = held.decoder.feed(data)
            end = held.received - len(data) - before
            for one in messages:
                end += len(framing.encode(one))
                if log := held.log_with():
                    log.message_taken(end)
            held.decoded += messages
            if step.get("gap"):
                time.sleep(step["gap"] / 1e9)
    except FramingError as error:
        return broken(outcome, OSError(errno.EBADMSG, str(error)))
    except OSError as error:
        return broken(outcome, error)
    taken, held.decoded = held.decoded[:wanted], held.decoded[wanted:]
    outcome.details["messages"] = len(taken)
    if outcome.outcome == SUCCESS and any(one != message(step) for one in taken if _has_content(step)):
        outcome.outcome = DIFFERS
    return outcome


def _has_content(step: Step) -> bool:
    return step.get("text") is not None or step.get("size") is not None


def note(outcome: Outcome, offset: int, length: int) -> None:
    """Count a call that moved bytes."""
    outcome.bytes += length
    if len(outcome.calls) < CALLS_KEPT:
        outcome.calls.append((offset, length, time.time_ns()))


def broken(outcome: Outcome, error: OSError) -> Outcome:
    """Return what was moved before the call that failed, and why it failed."""
    told = failed(error)
    told.bytes, told.calls = outcome.bytes, outcome.calls
    return told


def shut_down(held: Held, how: str) -> None:
    """Close one direction, or both; the descriptor stays."""
    held.sock.shutdown(_HOW[how])


def abort(held: Held) -> None:
    """Close with a reset."""
    set_option(held.sock, "linger", 0)
    held.sock.close()
