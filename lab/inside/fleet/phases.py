"""The phases a fleet can go through, one record each, and how each is read from a plan.

Rates are per host, numbers a second; times are nanoseconds. `active_share` is the share of the connections that take
part (spread evenly over them); the rest stays open and idle.
"""

from __future__ import annotations

from lab.inside.frozen import frozen, names

from .fields import Fields

GRACE_NS = 2_000_000_000
"""How long a phase goes on waiting for answers after it stopped asking, unless it says otherwise."""


@frozen
class Connect:
    """Open all connections, as the plan's `connect` says."""

    phase: str = "connect"


@frozen
class Hold:
    """Keep every connection open and send nothing."""

    phase: str = "hold"
    duration_ns: int


@frozen
class ClosedLoad:
    """Each active connection asks, waits for the answer, thinks, and asks again."""

    phase: str = "load"
    model: str = "closed"
    messages: int | None
    """Messages of each active connection; None: as many as the duration allows."""
    duration_ns: int | None
    """When to stop asking; None: when all messages are sent."""
    think_ns: int
    active_share: float
    concurrency: int | None
    """How many connections of this host may have a request in flight at once; None: all."""
    pipeline: int
    """How many requests one connection sends before it waits for an answer."""
    grace_ns: int


@frozen
class OpenLoad:
    """Requests arrive at a set rate whether or not earlier ones are answered; a free connection takes each."""

    phase: str = "load"
    model: str = "open"
    rate_per_s: float
    duration_ns: int
    active_share: float
    grace_ns: int


@frozen
class Probe:
    """A gentle open load on a few connections, logged as a latency series of its own."""

    phase: str = "probe"
    rate_per_s: float
    duration_ns: int
    connections: int
    """How many connections of this host carry the probes."""
    grace_ns: int


@frozen
class Churn:
    """Short connections at a set rate: connect, exchange `messages`, close. Beside the connections held open."""

    phase: str = "churn"
    rate_per_s: float
    duration_ns: int
    messages: int
    grace_ns: int


@frozen
class Burst:
    """Each active connection sends its messages back to back, without waiting for answers."""

    phase: str = "burst"
    messages: int
    gap_ns: int
    """Pause between two messages of one connection; 0: none."""
    active_share: float
    grace_ns: int


@frozen
class SlowRead:
    """Each active connection sends `messages` at once and then reads the answers at a trickle."""

    phase: str = "slow-read"
    messages: int
    bytes_per_s: float
    """What each connection reads a second; 0: nothing until the duration is over."""
    duration_ns: int
    active_share: float
    grace_ns: int


@frozen
class Drain:
    """Close all connections, as the plan's `close` and `drain` say."""

    phase: str = "drain"


Phase = Connect | Hold | ClosedLoad | OpenLoad | Probe | Churn | Burst | SlowRead | Drain

NAMES = ("connect", "hold", "load", "probe", "churn", "burst", "slow-read", "drain")


def read_phase(given: Fields) -> Phase:
    """Read one phase; what is wrong is noted in the problems of `given`, and the result then is of no use."""
    name = given.text("phase", choices=NAMES)
    phase: Phase
    if name == "hold":
        phase = Hold(duration_ns=given.integer("duration_ns"))
    elif name == "load":
        phase = _read_load(given)
    elif name == "probe":
        phase = Probe(
            rate_per_s=given.number("rate_per_s", least=0.001),
            duration_ns=given.integer("duration_ns"),
            connections=given.integer("connections", 1, least=1),
            grace_ns=given.integer("grace_ns", GRACE_NS),
        )
    elif name == "churn":
        phase = Churn(
            rate_per_s=given.number("rate_per_s", least=0.001),
            duration_ns=given.integer("duration_ns"),
            messages=given.integer("messages", 1),
            grace_ns=given.integer("grace_ns", GRACE_NS),
        )
    elif name == "burst":
        phase = Burst(
            messages=given.integer("messages", least=1),
            gap_ns=given.integer("gap_ns", 0),
            active_share=given.number("active_share", 1.0, most=1.0),
            grace_ns=given.integer("grace_ns", GRACE_NS),
        )
    elif name == "slow-read":
        phase = SlowRead(
            messages=given.integer("messages", 1, least=1),
            bytes_per_s=given.number("bytes_per_s"),
            duration_ns=given.integer("duration_ns"),
            active_share=given.number("active_share", 1.0, most=1.0),
            grace_ns=given.integer("grace_ns", GRACE_NS),
        )
    elif name == "drain":
        phase = Drain()
    else:
        phase = Connect()
        if name == "":
            return phase
    given.end(", ".join(names(phase)))
    return phase


def _read_load(given: Fields) -> ClosedLoad | OpenLoad:
    if given.text("model", "closed", choices=("closed", "open")) == "open":
        return OpenLoad(
            rate_per_s=given.number("rate_per_s", least=0.001),
            duration_ns=given.integer("duration_ns"),
            active_share=given.number("active_share", 1.0, most=1.0),
            grace_ns=given.integer("grace_ns", GRACE_NS),
        )
    closed = ClosedLoad(
        messages=given.integer("messages", None, least=1),
        duration_ns=given.integer("duration_ns", None),
        think_ns=given.integer("think_ns", 0),
        active_share=given.number("active_share", 1.0, most=1.0),
        concurrency=given.integer("concurrency", None, least=1),
        pipeline=given.integer("pipeline", 1, least=1, most=4096),
        grace_ns=given.integer("grace_ns", GRACE_NS),
    )
    if closed.messages is None and closed.duration_ns is None:
        given.wrong("messages", "missing, and duration_ns too; a closed load needs at least one of them to end")
    if closed.think_ns and closed.pipeline > 1:
        given.wrong("pipeline", f"got {closed.pipeline} with think_ns {closed.think_ns}; think time needs pipeline 1")
    return closed
