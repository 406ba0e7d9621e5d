"""The calls of a script on datagram sockets: every send is one datagram, and every recv takes exactly one.

A datagram of a pattern begins with its number, eight decimal digits, so that it is known again whatever is lost or
overtaken on its way. A bound socket talks to whoever sent to it last; a connected one to its peer alone. A recv whose
buffer is smaller than the datagram throws the rest away (udp(7)); MSG_TRUNC makes the kernel tell how long it was.
"""

from __future__ import annotations

import select
import socket
import time

from lab.inside.numbered import NUMBER_DIGITS, number_of
from lab.inside.script.calls import Deadline, Held, broken, message, note, set_option
from lab.inside.script.turns import BLOCKS, DIFFERS, SUCCESS, Outcome, Step


def new_socket(options: dict[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for name, value in options.items():
        set_option(sock, name, value)
    return sock


def bind(step: Step) -> Held:
    """Open a datagram socket at a port. Raises OSError, EADDRINUSE for one."""
    sock = new_socket(step["options"])
    try:
        sock.bind((step.get("bind", "0.0.0.0"), step["port"]))
    except OSError:
        sock.close()
        raise
    return Held(sock=sock, local=sock.getsockname(), remote=None, protocol="udp")


def connect(step: Step) -> Held:
    """Open a datagram socket and set its peer: nothing is sent. Raises OSError."""
    sock = new_socket(step["options"])
    try:
        if step.get("from_port"):
            sock.bind(("0.0.0.0", step["from_port"]))
        sock.connect((step["address"], step["port"]))
    except OSError:
        sock.close()
        raise
    return Held(sock=sock, local=sock.getsockname(), remote=sock.getpeername(), protocol="udp")


def send(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Send the step's message `times` times, each as one datagram."""
    outcome = Outcome()
    data = message(step)
    numbered = step.get("text") is None and len(data) >= NUMBER_DIGITS
    try:
        peer = held.remote or held.last_peer
        if peer is None:
            raise OSError(107, "send: nobody has sent to this socket yet")  # ENOTCONN
        for repeat in range(step.get("times", 1)):
            if repeat and step.get("gap"):
                time.sleep(step["gap"] / 1e9)
            number = held.datagrams_sent if numbered else None
            if number is not None:
                data = b"%0*d" % (NUMBER_DIGITS, number) + data[NUMBER_DIGITS:]
            if not deadline.ready(held.sock, select.POLLOUT):
                outcome.outcome = BLOCKS
                return outcome
            begin = time.time_ns()
            count = held.sock.send(data) if held.remote else held.sock.sendto(data, peer)
            held.datagrams_sent += 1
            note(outcome, held.sent, count)
            held.sent += count
            if log := held.log_with(peer):
                log.read_options(held.sock, begin)
                log.send(count, len(data), begin, time.time_ns(), count, number)
                log.message_sent()
    except OSError as error:
        return broken(outcome, error)
    return outcome


def recv(held: Held, step: Step, deadline: Deadline) -> Outcome:
    """Receive one datagram, or as many as `size` bytes, `text` or `times` want."""
    outcome = Outcome(details={"truncated": 0})
    text = message(step) if step.get("text") is not None else None
    size = len(text) if text is not None else step.get("size")
    came, calls = bytearray(), 0
    try:
        while outcome.bytes < size if size is not None else calls < step.get("times", 1):
            if not deadline.ready(held.sock, select.POLLIN):
                outcome.outcome = BLOCKS
                break
            buffer, begin = bytearray(step["buffer"]), time.time_ns()
            whole, peer = held.sock.recvfrom_into(buffer, 0, socket.MSG_TRUNC)
            data = bytes(buffer[:whole])
            calls += 1
            held.last_peer = peer
            outcome.details["truncated"] += whole > len(data)
            note(outcome, held.received, len(data))
            held.received += len(data)
            if log := held.log_with(peer):
                log.read_options(held.sock, begin)
                log.recv(len(data), step["buffer"], begin, time.time_ns(), whole, number_of(data))
                log.message_taken()
            came += data
            if step.get("gap"):
                time.sleep(step["gap"] / 1e9)
    except OSError as error:
        return broken(outcome, error)
    if text is not None and outcome.outcome == SUCCESS and bytes(came) != text:
        outcome.outcome = DIFFERS
    return outcome
