"""Every I/O model the lab can serve with: one file a model, and this table of them.

The table says what a planner must know without importing a model (a model may need a library or a kernel feature that
this machine lacks). `python -m lab.inside.servers.<module>` runs one; `startup.py` beside it holds the options they
share, `counters.py` what they count, `conversation.py` how a message becomes an answer, `children.py` how processes
are kept.
"""

from __future__ import annotations

from lab.inside.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

DESCRIPTORS_BESIDES = 32
"""Descriptors a server process needs besides its connections: streams, listener, epoll, wake-up, counters,
libraries."""


@frozen
class Model:
    """One I/O model."""

    name: str
    """As a scenario writes it."""
    module: str
    """Module under `lab.inside.servers`."""
    line: str
    """One line for a list of models."""
    transport: Literal["tcp", "udp"] = "tcp"
    requires: tuple[str, ...] = ()
    """Python packages beyond the standard library, and kernel features written `kernel:NAME`."""
    scale: Literal["workers", "pool", "none"] = "workers"
    """`workers`: --workers N starts N processes, each with a SO_REUSEPORT socket; `pool`: --pool N bounds its threads
    or processes; `none`: neither means anything."""
    bounded_queue: bool = False
    """Whether --queue N bounds the messages it has received and not begun to answer."""
    framing: str | None = None
    """The only framing it speaks, where it is bound to one."""
    ceiling: int | None = None
    """Connections one process can hold for a reason of the model's own; None: descriptors alone decide."""
    at_once: Literal["one", "pool", "all"] = "all"
    """Whom it serves at the same time: one client, as many as the pool has members, or everybody."""
    cannot: frozenset[str] = frozenset()
    """What its mechanism cannot do, by name: `idle` (it burns a core while nobody speaks), `half-close` (an answer
    due when the client's FIN arrives is lost), `wait-for-descriptors` (without any left it closes new clients),
    `boundaries` (its sends and recvs are not made where they could be logged)."""
    descriptors_each: int = 1
    """Descriptors a connection costs the accepting process; 0 where a child holds it."""

    def max_connections(self, nofile: int) -> int | None:
        """Connections one process can hold under this descriptor limit (RLIMIT_NOFILE); None: it has no such limit."""
        if self.transport == "udp":
            return None
        if self.descriptors_each == 0:
            return self.ceiling
        by_descriptors = max((nofile - DESCRIPTORS_BESIDES) // self.descriptors_each, 0)
        return by_descriptors if self.ceiling is None else min(self.ceiling, by_descriptors)


def _table(*models: Model) -> dict[str, Model]:
    return {model.name: model for model in models}


# fmt: off
MODELS: dict[str, Model] = _table(
    Model(name="blocking", module="blocking_server", at_once="one",
          line="one client at a time: accept, serve until it closes, accept the next"),
    Model(name="threads", module="threaded_server", scale="none",
          line="a thread per connection, each blocked in its own recv"),
    Model(name="threads-class", module="threads_class_server", scale="none",
          line="the same by a subclass of Thread: run() instead of target="),
    Model(name="processes-fork", module="process_fork_server", scale="none", descriptors_each=0,
          line="a forked process per connection"),
    Model(name="processes-spawn", module="process_spawn_server", scale="none", descriptors_each=2,
          line="a freshly started interpreter per connection"),
    Model(name="processes-target", module="processes_target_server", scale="none", descriptors_each=2,
          line="multiprocessing.Process(target=...) per connection, by fork"),
    Model(name="processes-class", module="processes_class_server", scale="none", descriptors_each=2,
          line="the same by a subclass of Process: run() instead of target="),
    Model(name="thread-pool", module="thread_pool_server", scale="pool", at_once="pool",
          line="a fixed number of threads; client number pool+1 waits"),
    Model(name="process-pool", module="process_pool_server", scale="pool", at_once="pool",
          line="pre-forked processes that share one listening socket; client number pool+1 waits"),
    Model(name="executor-threads", module="executor_threads_server", scale="pool",
          line="an event loop that submits each message to a ThreadPoolExecutor; message pool+1 waits, no client does"),
    Model(name="executor-processes", module="executor_processes_server", scale="pool",
          line="the same with a ProcessPoolExecutor: answers are computed on several cores"),
    Model(name="producer-consumer", module="producer_consumer_server", scale="none", bounded_queue=True,
          line="a receiving thread per connection, a bounded queue, one thread that answers: a full queue stops recv"),
    Model(name="nonblocking", module="nonblocking_server", cannot=frozenset({"idle"}),
          line="polling accept and recv of every socket in turn: a full core burnt while all are idle"),
    Model(name="select", module="select_server", ceiling=1023,
          line="select(2): waits for many, as long as no descriptor is above 1023"),
    Model(name="poll", module="poll_server",
          line="poll(2): no ceiling, but every call walks every connection"),
    Model(name="epoll", module="epoll_server",
          line="epoll(7), level-triggered, on raw descriptors: cost follows the active connections"),
    Model(name="epoll-edge", module="epoll_edge_server",
          line="epoll(7), edge-triggered: told once, so every socket is read until it is empty"),
    Model(name="epoll-compiled", module="epoll_compiled_server", cannot=frozenset({"boundaries"}),
          line="the epoll server, its system calls made by machine code: what the interpreter costs"),
    Model(name="selectors", module="selectors_server",
          line="the standard library's selectors over the best multiplexer there is"),
    Model(name="signal-driven", module="signal_driven_server",
          line="O_ASYNC and F_SETSIG: the kernel queues a realtime signal per event, until the queue overflows"),
    Model(name="asyncio-streams", module="asyncio_streams_server",
          line="asyncio with readers and writers, a coroutine per connection"),
    Model(name="asyncio-protocol", module="asyncio_protocol_server",
          line="asyncio with callbacks: data_received"),
    Model(name="asyncio-buffered", module="asyncio_buffered_server",
          line="asyncio with callbacks into a buffer of our own: get_buffer, buffer_updated"),
    Model(name="uvloop", module="uvloop_server", requires=("uvloop",),
          cannot=frozenset({"wait-for-descriptors", "boundaries"}),
          line="asyncio's protocol on libuv's loop"),
    Model(name="io-uring", module="io_uring_server", requires=("kernel:io_uring",),
          cannot=frozenset({"boundaries"}),
          line="completion instead of readiness: multishot accept and receive"),
    Model(name="gevent", module="gevent_server", requires=("gevent",),
          line="greenlets: blocking code that switches instead of blocking"),
    Model(name="trio", module="trio_server", requires=("trio",),
          line="structured concurrency: a task per connection, in a nursery"),
    Model(name="socketserver-tcp", module="socketserver_tcp_server", at_once="one", scale="none",
          line="socketserver.TCPServer: one request, that is one connection, at a time"),
    Model(name="socketserver-threading", module="socketserver_threading_server", scale="none",
          line="socketserver.ThreadingTCPServer: a thread per connection"),
    Model(name="socketserver-forking", module="socketserver_forking_server", scale="none", descriptors_each=0,
          line="socketserver.ForkingTCPServer: a process per connection"),
    Model(name="tornado", module="tornado_server", requires=("tornado",), cannot=frozenset({"half-close"}),
          line="tornado's TCPServer: coroutines over IOStream"),
    Model(name="tornado-http", module="tornado_http_server", requires=("tornado",), framing="http",
          cannot=frozenset({"half-close"}),
          line="tornado's HTTP server"),
    Model(name="twisted", module="twisted_server", requires=("twisted",),
          cannot=frozenset({"wait-for-descriptors", "boundaries"}),
          line="twisted's reactor and Protocol"),
    Model(name="sanic", module="sanic_server", requires=("sanic",), framing="http",
          cannot=frozenset({"half-close"}),
          line="sanic, which speaks HTTP only"),
    Model(name="udp", module="udp_server", transport="udp",
          line="datagrams, one blocking recvfrom after another"),
    Model(name="udp-epoll", module="udp_epoll_server", transport="udp",
          line="datagrams, epoll and recvfrom until empty"),
    Model(name="udp-asyncio", module="udp_asyncio_server", transport="udp",
          line="datagrams, asyncio's DatagramProtocol"),
    Model(name="socketserver-udp", module="socketserver_udp_server", transport="udp", scale="none",
          line="socketserver.UDPServer: one datagram after another"),
    Model(name="socketserver-threading-udp", module="socketserver_threading_udp_server", transport="udp", scale="none",
          line="socketserver.ThreadingUDPServer: a thread per datagram"),
)
# fmt: on
