"""The options every server takes, and the sockets they ask for."""

from __future__ import annotations

import socket
import struct
import sys

from lab.inside.arguments import Option, number, read_arguments, refuse, seconds
from lab.inside.framing import FixedSize, Framing, FramingError, parse_framing
from lab.inside.frozen import frozen
from lab.inside.handlers import Handler, parse_handler
from lab.inside.servers import MODELS, Model
from lab.inside.socket_options import socket_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_FAILED = 1
EXIT_MACHINE_LACKS = 3

# Options of the listening socket, inherited by every connection accepted from it (so they cost nothing per connection);
# see socket(7) and tcp(7).
SOCKET_OPTIONS = socket_options(
    "nodelay cork maxseg defer_accept fastopen user_timeout notsent_lowat keepidle keepintvl "
    "keepcnt keepalive linger sndbuf rcvbuf rcvlowat tos"
)


@frozen
class Settings:
    """How a server is to run."""

    model: Model
    bind: str
    port: int
    """0: any free one; the `ready` event tells which."""
    backlog: int
    """Length of the accept queue, as listen(2) takes it; the kernel clamps it to net.core.somaxconn."""
    workers: int
    pool: int
    queue: int
    """Messages that a bounded queue holds."""
    handler: Handler
    framing: Framing
    recv_size: int
    """Bytes one recv may bring."""
    socket_options: tuple[tuple[str, int], ...]
    progress_s: float
    """Seconds between two looks at the counters, each a `progress` event if something changed."""
    boundaries: int
    """Connections of each process whose boundaries are logged."""
    drain_s: float
    """Seconds from the stop until connections that will not end are cut."""


def read_settings(name: str, argv: list[str]) -> Settings:
    """Read the command line of the server `name`; ends the process with 2 (wrong usage) or 3 (this machine lacks
    it)."""
    model = MODELS[name]
    program = f"servers.{model.module}"
    given = read_arguments(program, model.line, _options(model), argv)
    if given["workers"] > 1 and model.scale != "workers":
        refuse(program, f"--workers: {name} runs as it is; 1 is allowed, got {given['workers']}")
    if given["boundaries"] and "boundaries" in model.cannot:
        where = f"{name} makes its calls where nobody can note them"
        refuse(program, f"--boundaries: {where}; allowed: 0, got {given['boundaries']}")
    if model.framing is not None and given["framing"] != model.framing:
        refuse(program, f"--framing: {name} speaks {model.framing} only, got {given['framing']}")
    try:
        settings = Settings(
            model=model,
            bind=given["bind"],
            port=given["port"],
            backlog=given["backlog"],
            workers=given["workers"],
            pool=given["pool"],
            queue=given["queue"],
            handler=parse_handler(given["handler"]),
            framing=parse_framing(given["framing"]),
            recv_size=given["recv_size"],
            socket_options=tuple(given["set_option"]),
            progress_s=given["progress"],
            drain_s=given["drain"],
            boundaries=given["boundaries"],
        )
        _check_answer_fits(settings)
    except ValueError as error:
        refuse(program, str(error))
    for package in model.requires:
        if not package.startswith("kernel:") and not _installed(package):
            lacks(name, f"the package `{package}` is not installed", f"pip install {package}, or wirelab[servers]")
    return settings


def _options(model: Model) -> list[Option]:
    handlers = "upper, echo, discard, cpu:1ms, sleep:10ms, block:10ms, tickets:5ms, locked-tickets:5ms, burst:10, "
    handlers += "respond:4KiB"
    framings = "none, fixed:64, delimiter:\\n, length, json-header, http"
    return [
        Option("bind", "address to listen on", default="0.0.0.0"),
        Option("port", "0 takes any free port", read=number(0), default=9000),
        Option("backlog", "length of the accept queue", read=number(0), default=4096),
        Option("workers", "processes, each with a SO_REUSEPORT socket of its own", read=number(1), default=1),
        Option("pool", "threads or processes of a pool", read=number(1), default=8),
        Option("queue", "messages that a bounded queue holds", read=number(1), default=8),
        Option("handler", handlers, default="upper"),
        Option("framing", framings, default=model.framing or "none"),
        Option("recv-size", "bytes one recv may bring", read=number(1), default=65536),
        Option("set-option", f"NAME=NUMBER of {', '.join(SOCKET_OPTIONS)}", read=_socket_option, repeat=True),
        Option("boundaries", "connections of which each send and recv is logged", read=number(0), default=0),
        Option("drain", "seconds the stop may take", read=seconds(0.0), default=5.0),
        Option("progress", "seconds between two progress events", read=seconds(0.001), default=0.5),
    ]


def _installed(package: str) -> bool:
    import importlib.util  # here: most models need no package

    return importlib.util.find_spec(package) is not None


def lacks(model: str, what: str, hint: str) -> NoReturn:
    """End the process: this machine cannot run the model."""
    print(f"{model}: {what}\nhint: {hint}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_MACHINE_LACKS)


def open_listeners(settings: Settings) -> list[socket.socket]:
    """Open the bound sockets, listening if TCP: one, or with several workers one each under SO_REUSEPORT.

    All are open before any worker runs, so that no connection meets a group that is still growing.
    """
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    kind = socket.SOCK_STREAM if settings.model.transport == "tcp" else socket.SOCK_DGRAM
    listeners: list[socket.socket] = []
    port = settings.port
    try:
        for _ in range(settings.workers):
            listener = socket.socket(family, kind)
            listeners.append(listener)
            if kind == socket.SOCK_STREAM:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if settings.workers > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for name, value in settings.socket_options:
                level, option = SOCKET_OPTIONS[name]
                # struct linger: on, and seconds to wait at close; 0 seconds makes close send a RST.
                listener.setsockopt(level, option, struct.pack("ii", 1, value) if name == "linger" else value)
            listener.bind((settings.bind, port))
            port = listener.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            for listener in listeners:
                listener.listen(settings.backlog)
    except OSError as error:
        print(f"{settings.model.name}: {settings.bind} port {port}: {error}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None
    return listeners


def _socket_option(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in SOCKET_OPTIONS or not (value.isascii() and value.isdigit()):
        allowed = ", ".join(SOCKET_OPTIONS)
        raise ValueError(f"NAME=NUMBER is allowed with a name out of {allowed}, got `{text}`")
    return name, int(value)


def _check_answer_fits(settings: Settings) -> None:
    """A fixed-size framing cannot carry `respond:` of another size: better said now than at the first message."""
    framing, handler = settings.framing, settings.handler
    if isinstance(framing, FixedSize) and handler.text.startswith("respond"):
        try:
            framing.encode(handler.answer(bytes(framing.limit)))
        except FramingError as error:
            raise ValueError(f"--handler {handler.text} does not fit --framing {framing.text}: {error}") from None
