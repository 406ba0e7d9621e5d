"""What one fleet host is told to do: the plan, read from JSON and checked whole before anything is opened.

All times are nanoseconds and all sizes bytes. Connections are numbered through all hosts of the fleet: this host has
`first_connection` and the `connections - 1` that follow. Connection `first_connection + i` goes to target `i mod
targets` from source `(i div targets) mod sources`, so that every pair of addresses carries its share of the ports;
worker `i mod workers` holds it.
"""

from __future__ import annotations

import json
import socket

from lab.inside.framing import parse_framing
from lab.inside.frozen import frozen, names
from lab.inside.socket_options import socket_options

from .fields import Fields, PlanInvalid
from .phases import Burst, Churn, ClosedLoad, Connect, Drain, Hold, OpenLoad, Phase, Probe, read_phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Plan", "PlanInvalid", "read_plan"]

SOCKET_OPTIONS = socket_options(
    "nodelay quickack cork maxseg window_clamp user_timeout notsent_lowat keepidle keepintvl "
    "keepcnt keepalive sndbuf rcvbuf tos"
)
"""What a plan may set on every socket before it connects: setsockopt(2) by the names that servers take too."""


@frozen
class ConnectPace:
    """How connections are opened."""

    rate_per_s: float | None
    """Connects begun a second on this host; None: as fast as `in_flight` lets."""
    in_flight: int
    """Connects begun and not yet answered, on this host, at most."""
    timeout_ns: int


@frozen
class Message:
    """What is sent, and what a right answer is."""

    bytes: int
    """Size of the message's body; framing may add to it."""
    framing: str
    answer_bytes: int | None
    """Size of an answer, where framing is `none`; None: its framing tells where it ends."""
    check: str | None
    """`upper` or `echo`: what the answer must hold; None: its size alone counts."""


@frozen
class DrainPace:
    """How connections are closed."""

    rate_per_s: float | None
    in_flight: int
    """Half-closed connections waiting for the peer's FIN at once, at most (close style `half`)."""
    wait_peer_close_ns: int


@frozen
class Plan:
    """One fleet host's whole work."""

    name: str
    targets: tuple[tuple[str, int], ...]
    transport: str
    """`tcp` or `udp`."""
    sources: tuple[str, ...]
    """Local addresses to connect from; empty: the kernel chooses."""
    first_connection: int
    connections: int
    workers: int
    crowd: int
    """Workers of all fleet hosts that share this machine's processors, this host's included."""
    connect: ConnectPace
    message: Message
    phases: tuple[Phase, ...]
    close: str
    """`fin`: close(2); `rst`: SO_LINGER 0, then close; `half`: shutdown(SHUT_WR), read to the end, close."""
    drain: DrainPace
    socket_options: tuple[tuple[int, int, int], ...]
    """(level, option, value) for setsockopt(2)."""
    boundaries: int
    """Connections of each worker whose sends and recvs are logged (`boundary_log.py`)."""
    latency_records: int
    """Records of latency each worker keeps at most; what goes beyond is counted."""
    seed: int

    def connections_of(self, worker: int) -> range:
        """The connections (0 is this host's first) that a worker holds."""
        return range(worker, self.connections, self.workers)

    def share(self, amount: int, worker: int) -> int:
        """A worker's part of `amount`; the parts of all workers add up to it."""
        return amount // self.workers + (worker < amount % self.workers)

    def descriptors_needed(self) -> int:
        """Descriptors that the fullest worker has open at once."""
        churning = any(isinstance(phase, Churn) for phase in self.phases)
        return self.share(self.connections, 0) + (self.share(self.connect.in_flight, 0) if churning else 0) + 32


def spread(i: int, chosen: int, of: int) -> bool:
    """Whether the i-th of `of` things is among the `chosen` when these are spread evenly over them."""
    return (i + 1) * chosen // of > i * chosen // of


def read_plan(text: str) -> Plan:
    """Read a plan from JSON.

    Raises: PlanInvalid with everything wrong at once, each as `key: what is wrong; what is allowed`.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PlanInvalid([f"plan: not JSON, {error}; one object is needed"]) from None
    problems: list[str] = []
    plan = _read(Fields(document, "", problems))
    if not problems:
        problems += _contradictions(plan)
    if problems:
        raise PlanInvalid(problems)
    return plan


def _read(given: Fields) -> Plan:
    connect = given.object("connect")
    message = given.object("message")
    drain = given.object("drain")
    plan = Plan(
        name=given.text("name", "fleet"),
        targets=_addresses(given),
        transport=given.text("transport", "tcp", choices=("tcp", "udp")),
        sources=tuple(_source(given, source) for source in given.rows("sources", [])),
        first_connection=given.integer("first_connection", 0),
        connections=given.integer("connections"),
        workers=given.integer("workers", 1, least=1, most=1024),
        crowd=given.integer("crowd", 1, least=1),
        connect=ConnectPace(
            rate_per_s=connect.number("rate_per_s", None, least=0.001),
            in_flight=connect.integer("in_flight", 256, least=1),
            timeout_ns=connect.integer("timeout_ns", 10_000_000_000, least=1),
        ),
        message=Message(
            bytes=message.integer("bytes", 64, least=1, most=2**30),
            framing=message.text("framing", "none"),
            answer_bytes=message.integer("answer_bytes", None, least=1),
            check=message.text("check", None, choices=("upper", "echo")),
        ),
        phases=tuple(given.each("phases", read_phase)),
        close=given.text("close", "fin", choices=("fin", "rst", "half")),
        drain=DrainPace(
            rate_per_s=drain.number("rate_per_s", None, least=0.001),
            in_flight=drain.integer("in_flight", 256, least=1),
            wait_peer_close_ns=drain.integer("wait_peer_close_ns", 10_000_000_000),
        ),
        socket_options=_socket_options(given.object("socket_options")),
        latency_records=given.integer("latency_records", 1_000_000),
        boundaries=given.integer("boundaries", 0, least=0),
        seed=given.integer("seed", 1),
    )
    connect.end("rate_per_s, in_flight, timeout_ns")
    message.end("bytes, framing, answer_bytes, check")
    drain.end("rate_per_s, in_flight, wait_peer_close_ns")
    given.end(", ".join(names(Plan)))
    return plan


def _addresses(given: Fields) -> tuple[tuple[str, int], ...]:
    targets = []
    for i, row in enumerate(given.rows("targets")):
        if isinstance(row, list) and len(row) == 2 and _is_address(row[0]) and _is_port(row[1]):
            targets.append((row[0], row[1]))
        else:
            given.wrong(f"targets[{i}]", f'got {row!r}; allowed: ["numeric address", port]')
    if not targets:
        given.wrong("targets", "no usable target; at least one is needed")
    return tuple(targets)


def _source(given: Fields, source: Any) -> str:
    if not _is_address(source):
        given.wrong("sources", f"got {source!r}; allowed: numeric addresses of this host")
    return str(source)


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        socket.inet_pton(address_family(value), value)
    except OSError:
        return False
    return True


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def address_family(address: str) -> socket.AddressFamily:
    """The family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _socket_options(given: Fields) -> tuple[tuple[int, int, int], ...]:
    options = []
    for name, (level, option) in SOCKET_OPTIONS.items():
        value = given.raw(name)
        if value is None:
            continue
        if isinstance(value, int):  # true and false are ints too: what switches take
            options.append((level, option, int(value)))
        else:
            given.wrong(name, f"got {value!r}; true, false or a whole number is needed")
    given.end(", ".join(SOCKET_OPTIONS))
    return tuple(options)


def _contradictions(plan: Plan) -> list[str]:
    wrong = []
    if plan.connections < plan.workers:
        only_churn = plan.connections == 0 and any(isinstance(phase, Churn) for phase in plan.phases)
        if not only_churn:
            wrong.append(f"workers: got {plan.workers} for {plan.connections} connections; at most one a connection")
    if plan.connect.in_flight < plan.workers or plan.drain.in_flight < plan.workers:
        wrong.append(f"in_flight: less than the {plan.workers} workers; each needs at least one")
    families = {address_family(address) for address in (*plan.sources, *(host for host, _port in plan.targets))}
    if len(families) > 1:
        wrong.append("sources: IPv4 and IPv6 are mixed in sources and targets; one family is needed")
    for i, phase in enumerate(plan.phases):
        if isinstance(phase, ClosedLoad) and phase.concurrency is not None and phase.concurrency < plan.workers:
            wrong.append(f"phases[{i}].concurrency: got {phase.concurrency}; at least one a worker ({plan.workers})")
        if isinstance(phase, Probe) and phase.connections > plan.connections:
            wrong.append(f"phases[{i}].connections: got {phase.connections}; at most all {plan.connections}")
        if plan.transport == "udp" and not isinstance(phase, Connect | Hold | ClosedLoad | OpenLoad | Burst | Drain):
            wrong.append(f"phases[{i}].phase: got {phase.phase!r} over udp; allowed: connect, hold, load, burst, drain")
    return wrong + _message_contradictions(plan)


def _message_contradictions(plan: Plan) -> list[str]:
    message, wrong = plan.message, []
    if plan.transport == "udp":
        if message.bytes < 16:
            wrong.append(f"message.bytes: got {message.bytes}; a datagram needs 16 for its number and time")
        if message.framing != "none":
            wrong.append(f"message.framing: got {message.framing!r} over udp; a datagram needs none")
        if plan.close != "fin":
            wrong.append(
                f"close: got {plan.close!r} over udp; there is nothing to end, allowed: fin (close the socket)"
            )
        if message.check == "upper":
            wrong.append("message.check: got 'upper' over udp; it would change the numbers in datagrams, use 'echo'")
        return wrong
    try:
        parse_framing(message.framing, side="client").encode(b"a" * message.bytes)
    except ValueError as error:
        wrong.append(f"message.framing: {error}")
    if message.framing == "none" and message.answer_bytes is None:
        wrong.append("message.answer_bytes: missing; framing 'none' does not tell where an answer ends")
    if message.framing != "none" and message.answer_bytes is not None:
        wrong.append(
            f"message.answer_bytes: got {message.answer_bytes}; framing {message.framing!r} tells it, leave it out"
        )
    return wrong
