"""What a scenario may say: its types, their defaults and their meaning.

The JSON Schema that editors use (`scenarios/scenario.schema.json`) is generated from these types (`lab schema`), and so
is the reference of keys. What a single value may be stands here; what contradicts what stands in `check.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lab.scenario.part import PHASE_TAG, Part
from lab.scenario.quantities import Bytes, Count, DurationNs, Name, Rate, SysctlValue
from lab.scenario.script import AnyStep


class Network(Part):
    """One Ethernet segment."""

    subnet: str = "auto"
    """IPv4 in CIDR form, or `auto`: one that collides with nothing on this machine."""
    mtu: int = Field(default=1500, ge=576, le=9000)
    """Largest IP packet, in bytes."""


class Host(Part):
    """A network stack of its own, or a group of equal ones: `count: 4` of `client` gives client-1 to client-4."""

    count: int = Field(default=1, ge=1, le=200)
    networks: list[Name] = Field(default_factory=lambda: ["lan"], min_length=1)
    """The networks it is joined to, in the order of its interfaces eth0, eth1, ..."""
    sysctls: dict[str, SysctlValue] = Field(default_factory=dict)
    """Kernel settings of its network stack, e.g. `net.core.somaxconn: 4096`; only names under `net.`."""
    nofile: Count | None = None
    """Descriptors one process may hold; default: what the machine gives."""
    cpus: float | None = Field(default=None, gt=0)
    """At most this many CPUs for each of its programs; default: no limit."""
    memory: Bytes | None = None
    """At most this much memory for each of its programs; default: no limit."""
    offloads: Literal["off", "on"] | None = None
    """Segmentation, receive and checksum offloads of its interfaces; default: off where it is captured, else on.
    With them on, a capture shows super-segments of up to 64 KiB that no wire would carry."""


class Server(Part):
    """The server under study."""

    host: Name = "server"
    model: str = "epoll"
    """The I/O model; `lab list` shows them all."""
    port: int = Field(default=9000, ge=1, le=65535)
    backlog: Count = 4096
    """Of listen(2): connections that may wait for accept; the kernel caps it at net.core.somaxconn."""
    workers: int | Literal["auto"] = "auto"
    """Processes, each with its own listener on the same port (SO_REUSEPORT). `auto`: as few as the descriptor limit
    allows."""
    pool: int | None = Field(default=None, ge=1)
    """Threads or processes of a pool model; default: the model's own."""
    queue: Count | None = Field(default=None, ge=1)
    """Messages that the producer-consumer model's queue holds; default: 8."""
    handler: str = "upper"
    """What it does with a message: upper, echo, discard, cpu:1ms, sleep:10ms, cpu:1ms+sleep:10ms, block:10ms (sleeps
    without giving way), tickets:5ms (sells numbers without a lock), locked-tickets:5ms, burst:10, respond:4KiB."""
    recv_size: Bytes = 65536
    """The buffer it gives each recv(2)."""
    socket_options: dict[str, int | bool] = Field(default_factory=dict)
    """Options of each accepted connection: nodelay, cork, quickack, keepalive, rcvbuf, sndbuf, linger, ..."""


class Connect(Part):
    """How the fleet opens its connections."""

    rate: Rate | None = None
    """Connections started per second, all fleet hosts together; default: as fast as `in_flight` allows."""
    in_flight: Count = 256
    """Most connects under way at once, in one worker."""
    timeout: DurationNs = 10_000_000_000
    """After this a connect has failed with ETIMEDOUT."""


class Message(Part):
    """What the clients say."""

    size: Bytes = 64
    """Payload of a message, without framing."""
    framing: str = "none"
    """How a message's end is found: none, fixed:64, delimiter:\\n, length, json-header, http. Server and
    fleet share it."""
    answer: Bytes | None = None
    """Size of an answer where the framing cannot tell; default: as large as the message."""
    check: bool = True
    """Compare each answer with what the handler should give."""


class ConnectPhase(Part):
    """Open all connections."""

    phase: Literal["connect"]


class HoldPhase(Part):
    """All connections stay open and silent."""

    phase: Literal["hold"]
    duration: DurationNs


class ClosedLoad(Part):
    """Closed model: each connection sends its next message when the last one was answered. Hides stalls: compare
    service time with response time."""

    phase: Literal["load"]
    model: Literal["closed"] = "closed"
    messages: Count | None = None
    """Messages each active connection sends; or give `duration`."""
    duration: DurationNs | None = None
    think: DurationNs = 0
    """Pause between an answer and the next message."""
    active: float = Field(default=1.0, gt=0, le=1)
    """Share of the connections that send; the others stay idle."""
    concurrency: Count | None = None
    """Most requests in flight at once, over all fleet hosts; default: one a connection."""
    pipeline: int = Field(default=1, ge=1)
    """Messages a connection may have unanswered."""


class OpenLoad(Part):
    """Open model: messages arrive at a set rate, whether or not the server keeps up."""

    phase: Literal["load"]
    model: Literal["open"]
    rate: Rate
    """Messages per second, all fleet hosts together."""
    duration: DurationNs
    active: float = Field(default=1.0, gt=0, le=1)


class ChurnPhase(Part):
    """Short connections at a set rate: connect, `messages` exchanges, close."""

    phase: Literal["churn"]
    rate: Rate
    duration: DurationNs
    messages: Count = 1


class BurstPhase(Part):
    """Each connection sends messages back to back without waiting for answers."""

    phase: Literal["burst"]
    messages: Count
    gap: DurationNs = 0
    """Pause between two sends of one connection."""


class SlowReadPhase(Part):
    """Each connection sends and then reads its answers slowly: back-pressure."""

    phase: Literal["slow-read"]
    messages: Count = 1
    read_rate: Bytes
    """Bytes per second that a connection reads."""
    duration: DurationNs


class DrainPhase(Part):
    """Close all connections."""

    phase: Literal["drain"]


def _phase_tag(value: Any) -> str | None:
    """Tell the phases apart by `phase`, and the two models of `load` by `model`."""
    get = value.get if isinstance(value, dict) else lambda key, default=None: getattr(value, key, default)
    phase = get("phase", None)
    if phase == "load":
        return f"{PHASE_TAG}{get('model', 'closed')}-load"
    return f"{PHASE_TAG}{phase}" if isinstance(phase, str) else None


Phase = Annotated[
    Annotated[ConnectPhase, Tag("phase:connect")]
    | Annotated[HoldPhase, Tag("phase:hold")]
    | Annotated[ClosedLoad, Tag("phase:closed-load")]
    | Annotated[OpenLoad, Tag("phase:open-load")]
    | Annotated[ChurnPhase, Tag("phase:churn")]
    | Annotated[BurstPhase, Tag("phase:burst")]
    | Annotated[SlowReadPhase, Tag("phase:slow-read")]
    | Annotated[DrainPhase, Tag("phase:drain")],
    Discriminator(_phase_tag),
]


class Fleet(Part):
    """The clients, as a whole."""

    hosts: Name = "client"
    """The host group they run in; the connections are shared out evenly."""
    transport: Literal["tcp", "udp"] = "tcp"
    connections: Count
    workers: int | Literal["auto"] = "auto"
    """Processes on each fleet host. `auto`: as few as the descriptor limit allows."""
    connect: Connect = Connect()
    message: Message = Message()
    phases: list[Phase] = Field(min_length=1)
    """What the fleet does, in order; all fleet hosts change phase together."""
    close: Literal["fin", "rst", "half"] = "fin"
    """How a connection is closed: close(2); close with SO_LINGER 0 (abort); shutdown(SHUT_WR), read to the end,
    close."""
    socket_options: dict[str, int | bool] = Field(default_factory=dict)


class Capture(Part):
    """A capture sidecar on one host, or on each host of a group."""

    host: Name
    filter: str = ""
    """pcap-filter(7), e.g. `tcp port 9000`; default: everything."""
    snaplen: Bytes = 262_144
    """Bytes kept of each packet."""
    ring: Bytes | None = None
    """Kernel memory between the network and the disk; by default 8 MiB where packets are cut at 512 bytes or less, and
    64 MiB where they are not."""
    max_size: Bytes = 8 << 30
    """The file ends here; what came later is lost, and said so."""


class Expectation(Part):
    """One thing that must be true. Compared with a number with its unit, or with the scenario's own key, e.g.
    `equal: fleet.connections`."""

    what: str
    """A measure: `lab show --measures` lists them. With `query`: a sentence that says what the number is."""
    at: Name | None = None
    """The host whose capture or counters are asked; default: the server's host, without one the script's first
    captured host."""
    query: str | None = None
    """SQL over the run's tables (packets, connections, flows, frames, latency, steps) that gives one number."""
    only: dict[str, int | float | str | bool] = Field(default_factory=dict)
    """Of a series: the cells that it holds for, by values as the matrix writes them; default: all."""
    equal: int | float | str | None = None
    at_least: int | float | str | None = None
    at_most: int | float | str | None = None
    because: str | None = None
    """Why it must be so."""


MatrixValue = int | float | str | bool | dict[str, int | float | str | bool]


class Comparison(Part):
    """Two cells of a series, or two groups of them: how many times as large the one's median is as the other's."""

    what: str
    """A measure."""
    of: dict[str, int | float | str | bool] = Field(min_length=1)
    """Values that name the cells on the one side, as the matrix writes them: `{server.model: poll}`."""
    over: dict[str, int | float | str | bool] = Field(min_length=1)
    """The same of the other side."""
    at_least: float | None = None
    """Times as large, at least."""
    at_most: float | None = None
    because: str | None = None
    """Why it must be so."""


TOPICS = {
    "layers": "Layers: Ethernet, ARP, IP, and what HTTP adds",
    "tcp": "TCP, from the handshake to TIME-WAIT",
    "udp": "UDP",
    "messages": "Message boundaries: coalesced and split (sticky packets)",
    "models": "I/O models: ways to wait",
    "concurrency": "Threads, processes, coroutines",
    "scale": "Many connections",
}
"""What scenarios teach, in the order of a course: the word in a scenario, and its heading."""
Topic = Literal["layers", "tcp", "udp", "messages", "models", "concurrency", "scale"]


class Scenario(Part):
    """One lab session: hosts, a server and a fleet or a script, captures, and what must be true at the end."""

    title: str = Field(min_length=1, max_length=100)
    topic: Topic | None = None
    """What it teaches: the heading under which `lab list` shows it."""
    lesson: str = ""
    """What to predict, what to look at, why it is so."""
    seed: int = Field(default=1, ge=0)
    """Of every random choice: payloads, order, arrival times."""
    networks: dict[Name, Network] = Field(default_factory=lambda: {"lan": Network()})
    hosts: dict[Name, Host] = Field(min_length=1)
    server: Server | None = None
    fleet: Fleet | None = None
    script: list[AnyStep] = Field(default_factory=list)
    """Socket calls on several hosts in one order: instead of a server and a fleet, or beside them."""
    boundaries: int = Field(default=0, ge=0, le=1000)
    """Log each send and recv of so many connections in each process of the fleet and of the server (all models but
    io-uring, uvloop and twisted): what the measures `boundaries.*` and `lab inspect --messages` need. Scripts always
    log theirs."""
    capture: list[Capture] = Field(default_factory=list)
    expect: list[Expectation] = Field(default_factory=list)
    matrix: dict[str, list[MatrixValue]] = Field(default_factory=dict)
    """Keys of this scenario, each with the values it takes: a run for every combination, e.g.
    `server.model: [poll, epoll]`. A value that is a mapping sets several keys at once."""
    exclude: list[dict[str, int | float | str | bool]] = Field(default_factory=list)
    """Combinations of the matrix to leave out, each by some of its values."""
    repeats: int = Field(default=1, ge=1, le=50)
    """How often each combination runs; repeats are interleaved: A B C, C B A, ..."""
    columns: list[str] = Field(default_factory=list)
    """Measures that the table of a series shows; default: rate, CPU, system calls, latency and memory."""
    compare: list[Comparison] = Field(default_factory=list)
    """What must be true between the cells of a series."""
