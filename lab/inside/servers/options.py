"""The options every server takes, and the sockets they ask for."""

from __future__ import annotations

import argparse
import importlib.util
import re
import socket
import struct
import sys
from dataclasses import dataclass
from typing import NoReturn

from lab.inside.framing import FixedSize, Framing, FramingError, parse_framing
from lab.inside.handlers import Handler, parse_handler
from lab.inside.servers import MODELS, Model
from lab.inside.socket_options import socket_options

EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_MACHINE_LACKS = 3

# Options of the listening socket, inherited by every connection accepted from it (so they cost nothing per connection);
# see socket(7) and tcp(7).
SOCKET_OPTIONS = socket_options(
    "nodelay cork maxseg defer_accept fastopen user_timeout notsent_lowat keepidle keepintvl "
    "keepcnt keepalive linger sndbuf rcvbuf rcvlowat tos"
)


@dataclass(frozen=True, kw_only=True)
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
    parser = argparse.ArgumentParser(
        prog=f"python -m lab.inside.servers.{model.module}",
        description=model.line,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--bind", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--port", type=int, default=9000, help="0 takes any free port")
    parser.add_argument("--backlog", type=int, default=4096, help="length of the accept queue")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with a SO_REUSEPORT socket of its own")
    parser.add_argument("--pool", type=int, default=8, help="threads or processes of a pool")
    parser.add_argument(
        "--handler", default="upper", help="upper, echo, discard, cpu:1ms, sleep:10ms, burst:10, respond:4KiB"
    )
    parser.add_argument(
        "--framing", default=model.framing or "none", help="none, fixed:64, delimiter:\\n, length, json-header, http"
    )
    parser.add_argument("--recv-size", type=int, default=65536, help="bytes one recv may bring")
    parser.add_argument(
        "--set-option", action="append", default=[], metavar="NAME=VALUE", help=", ".join(SOCKET_OPTIONS)
    )
    parser.add_argument(
        "--boundaries", type=int, default=0, metavar="N", help="log each send and recv of N connections"
    )
    parser.add_argument("--drain", type=float, default=5.0, metavar="SECONDS", help="time the stop may take")
    parser.add_argument(
        "--progress", type=float, default=0.5, metavar="SECONDS", help="time between two progress events"
    )
    given = parser.parse_args(argv)

    if given.workers < 1 or (given.workers > 1 and model.scale != "workers"):
        parser.error(f"--workers: {model.name} runs as it is; 1 is allowed, got {given.workers}")
    if given.progress <= 0 or given.drain < 0:
        parser.error(f"--progress, --drain: a positive time is allowed, got {given.progress} and {given.drain}")
    if given.boundaries and "boundaries" in model.cannot:
        parser.error(
            f"--boundaries: {name} makes its calls where nobody can note them; allowed: 0, got {given.boundaries}"
        )
    if given.pool < 1:
        parser.error(f"--pool: at least 1 is allowed, got {given.pool}")
    if given.recv_size < 1:
        parser.error(f"--recv-size: at least 1 byte is allowed, got {given.recv_size}")
    if model.framing is not None and given.framing != model.framing:
        parser.error(f"--framing: {model.name} speaks {model.framing} only, got {given.framing}")
    try:
        settings = Settings(
            model=model,
            bind=given.bind,
            port=given.port,
            backlog=given.backlog,
            workers=given.workers,
            pool=given.pool,
            handler=parse_handler(given.handler),
            framing=parse_framing(given.framing),
            recv_size=given.recv_size,
            socket_options=tuple(_socket_option(text) for text in given.set_option),
            progress_s=given.progress,
            drain_s=given.drain,
            boundaries=given.boundaries,
        )
        _check_answer_fits(settings)
    except ValueError as error:
        parser.error(str(error))
    for package in model.requires:
        if not package.startswith("kernel:") and importlib.util.find_spec(package) is None:
            lacks(name, f"the package `{package}` is not installed", f"pip install {package}, or wirelab[servers]")
    return settings


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
    found = re.fullmatch(r"(\w+)=(\d+)", text)
    if found is None or found[1] not in SOCKET_OPTIONS:
        raise ValueError(
            f"--set-option: NAME=NUMBER is allowed with a name out of {', '.join(SOCKET_OPTIONS)}, got `{text}`"
        )
    return found[1], int(found[2])


def _check_answer_fits(settings: Settings) -> None:
    """A fixed-size framing cannot carry `respond:` of another size: better said now than at the first message."""
    framing, handler = settings.framing, settings.handler
    if isinstance(framing, FixedSize) and handler.text.startswith("respond"):
        try:
            framing.encode(handler.answer(bytes(framing.limit)))
        except FramingError as error:
            raise ValueError(f"--handler {handler.text} does not fit --framing {framing.text}: {error}") from None
