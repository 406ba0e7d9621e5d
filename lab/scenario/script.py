"""What a script may say: socket calls on several hosts in one order, and segments made by hand.

A script is a list of steps. Each happens at one host and ends before the next begins, so the order of calls on two
hosts, which is the lesson of most of TCP, is exactly what the file says. Steps of one host that follow each other run
without a pause between them.

A call that ends only because of a later step (`recv` before the other side sends) has `wait: false`: it is begun, and
the script goes on. Such calls of one socket stand in one line and run one after the other; `join` waits for one.

Every step says how it must end: `gives` names an errno, `eof` or `blocks` (still waiting after `within`); without it
the call must succeed. A step that ends otherwise ends the script, and the run fails.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from lab.inside.framing import parse_framing
from lab.inside.script.names import OPTIONS, STATES, TIMERS
from lab.scenario.part import STEP_TAG, Part, tagged_by
from lab.scenario.quantities import Bytes, Count, DurationNs, Name, Rate

Port = Annotated[int, Field(ge=1, le=65535)]
State = Annotated[str, Field(pattern=f"^({'|'.join(STATES)})$", examples=["FIN-WAIT-2"])]
Timer = Annotated[str, Field(pattern=f"^({'|'.join(TIMERS)})$", examples=["probe"])]
Option = Annotated[str, Field(pattern=f"^({'|'.join(OPTIONS)})$", examples=["nodelay"])]
Flags = Annotated[str, Field(pattern=r"^[FSRPAUEC]+$", examples=["S", "SA", "FA"])]
"""TCP flags by their first letters, as tcpdump and scapy write them."""


def _framing(text: str) -> str:
    """Refuse a framing that does not exist. Raises ValueError."""
    if text == "http":
        raise ValueError(
            "framing `http` is for servers and fleets; a script's are fixed:SIZE, delimiter:BYTES, length, json-header"
        )
    parse_framing(text)
    return text


FramingText = Annotated[str, AfterValidator(_framing), Field(examples=["length"])]


def _reuse() -> dict[str, int | bool]:
    return {"reuseaddr": True}


class Step(Part):
    """One step at one host."""

    at: Name
    """The host."""
    label: Name | None = Field(default=None, alias="as")
    """A name for the step's result, and for the socket that it makes."""
    gives: str | None = Field(default=None, pattern=r"^(E[A-Z0-9]+|eof|blocks)$", examples=["ECONNREFUSED", "eof"])
    """How it must end: an errno, `eof`, or `blocks`; default: in success."""
    within: DurationNs = 5_000_000_000
    """How long it may take; a call that waits longer `blocks`."""


class SocketStep(Step):
    """A step on a socket that an earlier step has made."""

    socket: Name
    """The name that the step that made it gave it with `as`."""


class WaitingStep(SocketStep):
    """A step on a socket that may have to wait for the other side."""

    wait: bool = True
    """False: the script goes on while the call waits; `join` waits for its end."""


class Listen(Step):
    """socket(2), bind(2), listen(2)."""

    do: Literal["listen"]
    label: Name = Field(alias="as")
    port: Port
    backlog: Count = 128
    """Connections that may wait for accept: one more than this, at most net.core.somaxconn."""
    options: dict[Option, int | bool] = Field(default_factory=_reuse)
    """Set before bind(2); accepted connections inherit most of them."""


class Bind(Step):
    """socket(2), bind(2) of a datagram socket (UDP). It receives from anybody and sends to whoever sent last."""

    do: Literal["bind"]
    label: Name = Field(alias="as")
    port: Port
    options: dict[Option, int | bool] = Field(default_factory=dict)
    """Set before bind(2)."""


class Connect(Step):
    """socket(2), connect(2)."""

    do: Literal["connect"]
    label: Name = Field(alias="as")
    to: Name
    """The other host; one with hand-made segments is reached at the address they come from."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """`udp`: nothing is sent; the socket talks to this peer alone."""
    port: Port
    from_port: Port | None = None
    """The local port; default: the kernel chooses."""
    options: dict[Option, int | bool] = Field(default_factory=dict)
    """Set before connect(2)."""
    wait: bool = True


class Accept(WaitingStep):
    """accept(2) on a listening socket."""

    do: Literal["accept"]
    label: Name = Field(alias="as")


class Send(WaitingStep):
    """send(2), again and again until all is sent. On a datagram socket each call sends one datagram."""

    do: Literal["send"]
    size: Bytes | None = None
    """So many bytes of a pattern (which begins with a number in a datagram); or give `text`."""
    text: str | None = None
    framing: FramingText | None = None
    """Mark the message's end, as a server's `framing` does. Default: not at all."""
    times: int = Field(default=1, ge=1, le=100_000)
    """Send it so often, each time by a call of its own."""
    gap: DurationNs = 0
    """Pause between two of these."""


class Recv(WaitingStep):
    """recv(2). By default one call; with `size`, `text` or `until: eof` as many as it takes. With `framing` until
    `times` messages are whole; one that breaks the framing gives EBADMSG, one that is not `size` or `text` differs."""

    do: Literal["recv"]
    size: Bytes | None = None
    """Receive exactly so many bytes."""
    text: str | None = None
    """Receive exactly this."""
    until: Literal["eof"] | None = None
    """Receive until the other side's FIN."""
    framing: FramingText | None = None
    """How the messages are marked: `fixed:64`, `delimiter:\\n`, `length`, `json-header`."""
    times: int = Field(default=1, ge=1, le=100_000)
    """So many messages with `framing`, so many calls without."""
    bytes_: Bytes | None = Field(default=None, alias="bytes")
    """How many bytes must have come; default: whatever comes."""
    buffer: Bytes = 65_536
    """What each call may bring."""
    gap: DurationNs = 0
    """Pause between two calls: a slow reader."""


class Shutdown(SocketStep):
    """shutdown(2)."""

    do: Literal["shutdown"]
    how: Literal["write", "read", "both"] = "write"


class Close(WaitingStep):
    """close(2)."""

    do: Literal["close"]


class Abort(SocketStep):
    """close(2) with SO_LINGER on and a time of 0: a reset instead of a FIN."""

    do: Literal["abort"]


class SetOption(SocketStep):
    """setsockopt(2)."""

    do: Literal["set-option"]
    option: Option
    value: int | bool


class Pause(Step):
    """Let time pass: only where time itself is the lesson; `await` waits for conditions."""

    do: Literal["pause"]
    duration: DurationNs


class Await(SocketStep):
    """Wait until the kernel shows a socket as described, closed ones included."""

    do: Literal["await"]
    state: State | None = None
    timer: Timer | None = None
    """The timer that runs: retransmit, keepalive, time-wait, probe (of a zero window), none."""
    retransmits: int | None = Field(default=None, ge=0)
    """At least so many timeouts without an answer."""
    send_queue: Bytes | None = None
    """Exactly so many bytes not yet acknowledged."""
    recv_queue: Bytes | None = None
    """Exactly so many bytes that the program has not received."""
    accept_queue: Count | None = None
    """Of a listening socket: exactly so many connections to accept."""


class Look(Step):
    """Record every TCP socket of the host as its kernel shows it now, as `ss` does: state, queues, timer."""

    do: Literal["look"]
    label: Name = Field(alias="as")


class Join(Step):
    """Wait for the end of a step that was begun with `wait: false`."""

    do: Literal["join"]
    step: Name


class Cut(Step):
    """From now on nothing that this host sends to the other arrives. It is lost on the wire: this host's capture shows
    it, the other's does not."""

    do: Literal["cut"]
    to: Name


class Mend(Step):
    """The end of `cut`."""

    do: Literal["mend"]
    to: Name


class Route(Step):
    """From now on this host sends what is meant for the other by way of a third, which must be on a network with it."""

    do: Literal["route"]
    to: Name
    via: Name


class Endpoint(Step):
    """An end of a connection whose segments are made by hand, at an address that no kernel owns: nothing answers there
    but the script."""

    do: Literal["endpoint"]
    label: Name = Field(alias="as")
    port: Port
    to: Name | None = None
    """The host it talks to; default: whoever sends the first segment to its port."""
    to_port: Port | None = None
    sequence: int = Field(default=1_000_000, ge=0, lt=1 << 32)
    """Its initial sequence number."""


class Craft(SocketStep):
    """Send one segment of a hand-made end. Sequence and acknowledgement numbers follow from what was sent and came."""

    do: Literal["craft"]
    flags: Flags
    size: Bytes = 0
    """Payload."""
    seq: int | Literal["acked"] = 0
    """Added to the next sequence number; `acked`: the number that the other side acknowledged last."""
    ack: int = 0
    """Added to the next sequence number expected from the other side."""
    window: int = Field(default=65_535, ge=0, le=65_535)
    mss: int | None = Field(default=None, ge=1, le=65_535)
    """The MSS option, on a SYN."""


class AwaitSegment(SocketStep):
    """Wait for a segment with exactly these flags (PSH aside) to a hand-made end; what comes before is taken in."""

    do: Literal["await-segment"]
    flags: Flags
    bytes_: Bytes | None = Field(default=None, alias="bytes")
    """Its payload; default: any."""


class Flood(Step):
    """Send SYNs from many ports of the address that no kernel owns, and answer nothing that comes back."""

    do: Literal["flood"]
    to: Name
    port: Port
    count: Count


class Relay(Step):
    """Play a network between two others that does not treat all alike: take in datagrams (or their fragments, one by
    one) that are routed by way of this host (`route`), and pass them on as `order` says. The host's kernel must not
    forward them itself (`sysctls: {net.ipv4.ip_forward: 0}`)."""

    do: Literal["relay"]
    to: Name
    """The host they are for."""
    count: Count
    """How many to wait for."""
    order: list[int] = Field(min_length=1)
    """Their places, from 0 as they came, in the order they are passed on. A place left out is lost, one given twice is
    doubled."""
    gap: DurationNs = 0
    """Between one and the next."""


class Switch(Step):
    """Be an Ethernet switch between all of this host's networks from now on, or begin anew to be one. It has no
    spanning tree, so a loop of two is a storm; hence its bounds."""

    do: Literal["switch"]
    most: int = Field(default=1000, ge=1, le=10_000)
    """So many frames it passes on, then none."""
    rate: Rate = Field(default=1000.0, le=2000)
    """So many a second, at most 2k/s."""


class Unplug(Step):
    """Pull a cable of this host's switch: it neither takes frames from that network nor gives it any."""

    do: Literal["unplug"]
    network: Name


class AwaitLimit(Step):
    """Wait until this host's switch has passed on as many frames as it may."""

    do: Literal["await-limit"]


class RunPhase(Part):
    """Let the fleet run its next phase, to its end. Phases that the script does not mention run after it."""

    do: Literal["phase"]


CRAFTED = (Endpoint, Craft, AwaitSegment, Flood, Relay)
"""Steps on hand-made segments, and on others' datagrams."""
SWITCHING = (Switch, Unplug, AwaitLimit)
"""Steps of a switch."""
ADMINISTERING = (Cut, Mend, Route)
"""Steps that change the host's network configuration."""

AnyStep = Annotated[
    Annotated[Listen, Tag("do:listen")]
    | Annotated[Connect, Tag("do:connect")]
    | Annotated[Accept, Tag("do:accept")]
    | Annotated[Bind, Tag("do:bind")]
    | Annotated[Send, Tag("do:send")]
    | Annotated[Recv, Tag("do:recv")]
    | Annotated[Shutdown, Tag("do:shutdown")]
    | Annotated[Close, Tag("do:close")]
    | Annotated[Abort, Tag("do:abort")]
    | Annotated[SetOption, Tag("do:set-option")]
    | Annotated[Pause, Tag("do:pause")]
    | Annotated[Await, Tag("do:await")]
    | Annotated[Look, Tag("do:look")]
    | Annotated[Join, Tag("do:join")]
    | Annotated[Cut, Tag("do:cut")]
    | Annotated[Mend, Tag("do:mend")]
    | Annotated[Route, Tag("do:route")]
    | Annotated[Endpoint, Tag("do:endpoint")]
    | Annotated[Craft, Tag("do:craft")]
    | Annotated[AwaitSegment, Tag("do:await-segment")]
    | Annotated[Flood, Tag("do:flood")]
    | Annotated[Relay, Tag("do:relay")]
    | Annotated[Switch, Tag("do:switch")]
    | Annotated[Unplug, Tag("do:unplug")]
    | Annotated[AwaitLimit, Tag("do:await-limit")]
    | Annotated[RunPhase, Tag("do:phase")],
    Discriminator(tagged_by(STEP_TAG, "do")),
]
