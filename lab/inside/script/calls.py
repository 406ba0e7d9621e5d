"""The socket calls a script may make, one function each, and the sockets they are made on.

Sockets are non-blocking, and a call that has to wait waits in poll(2), so that every wait has a bound. What the other
side sees is the same as with blocking calls.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from lab.inside.script.kernel_sockets import Address
from lab.inside.script.names import OPTIONS
from lab.inside.script.turns import BLOCKS, DIFFERS, EOF, SUCCESS, Outcome, Step, failed

CALLS_KEPT = 10_000
"""Send and recv calls kept of one step; a step has fewer, but for one that moves gigabytes."""
_PATTERN = bytes(range(ord("a"), ord("z") + 1))
_HOW = {"read": socket.SHUT_RD, "write": socket.SHUT_WR, "both": socket.SHUT_RDWR}


@dataclass(kw_only=True)
class Held:
    """A socket by its name in the script. Its ends are remembered after it is closed: the kernel may still have it."""

    sock: socket.socket
    local: Address
    remote: Address | None
    """None: it listens."""
    sent: int = 0
    received: int = 0
    """Where in each direction's stream the next call begins."""


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
    try:
        for number in range(step.get("times", 1)):
            if number and step.get("gap"):
                time.sleep(step["gap"] / 1e9)
            rest = memoryview(data)
            while rest:
                if not deadline.ready(held.sock, select.POLLOUT):
                    outcome.outcome = BLOCKS
                    return outcome
                try:
                    count = held.sock.send(rest)
                except BlockingIOError:  # poll(2) may be wrong: it saw room that another call has taken
                    continue
                _note(outcome, held.sent, count)
                held.sent += count
                rest = rest[count:]
    except OSError as error:
        return _broken(outcome, error)
    return outcome


def recv(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Receive: once, or until size, text or the end is reached."""
    outcome = Outcome()
    text = message(step) if step.get("text") is not None else None
    size = len(text) if text is not None else step.get("size")
    came = bytearray()
    try:
        while size is None or outcome.bytes < size:
            if not deadline.ready(held.sock, select.POLLIN):
                outcome.outcome = BLOCKS
                break
            data = held.sock.recv(step["buffer"] if size is None else min(step["buffer"], size - outcome.bytes))
            if not data:
                outcome.outcome = SUCCESS if step.get("until") == "eof" else EOF
                break
            _note(outcome, held.received, len(data))
            held.received += len(data)
            if text is not None:
                came += data
            if size is None and step.get("until") is None:
                break
            if step.get("gap"):
                time.sleep(step["gap"] / 1e9)
    except OSError as error:
        return _broken(outcome, error)
    if text is not None and outcome.outcome == SUCCESS and bytes(came) != text:
        outcome.outcome = DIFFERS
    return outcome


def _note(outcome: Outcome, offset: int, length: int) -> None:
    outcome.bytes += length
    if len(outcome.calls) < CALLS_KEPT:
        outcome.calls.append((offset, length, time.time_ns()))


def _broken(outcome: Outcome, error: OSError) -> Outcome:
    """Return what was moved before the call that failed, and why it failed."""
    broken = failed(error)
    broken.bytes, broken.calls = outcome.bytes, outcome.calls
    return broken


def shut_down(held: Held, how: str) -> None:
    """Close one direction, or both; the descriptor stays."""
    held.sock.shutdown(_HOW[how])


def abort(held: Held) -> None:
    """Close with a reset."""
    set_option(held.sock, "linger", 0)
    held.sock.close()
