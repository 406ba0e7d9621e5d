"""The boundary log: every send and recv call of chosen connections, and where the program's messages end.

Only a log at both ends, laid over the capture, can say whether messages were joined at send, in the kernel, on the
wire or at recv. It costs two clock readings and a list item a call, so it is off by default, keeps the first
connections only and so many calls of each; `left_out` says what did not fit. Nothing after that is in it.

A program writes `boundaries-<program>.json` (one a process: `boundaries-<program>-<worker>.json`) into its results:

    {"program": "server", "connections": [
      {"protocol": "tcp", "local": ["10.0.0.2", 9000], "remote": ["10.0.0.3", 40001],
       "options": [[t_ns, {"nodelay": 0, "cork": 0, "sndbuf": 87040, "rcvbuf": 131072, "maxseg": 1460}], ...],
       "calls": [["recv", offset, length, asked, begin_ns, end_ns], ...],
       "sent": [100, 200], "taken": [100, 200], "left_out": 0}]}

`offset` counts the bytes of that direction from 0; `asked` is what the program offered (the rest of its message, the
size of its buffer), `length` what the call moved; times are ns since 1970. `options` is read at the first call and
whenever the program sets one. `sent` are the offsets at which the messages that the program sends end, `taken` those
at which it took a message to end of what it received: where the two ends' lists differ, a message was misread.
For UDP every call is one datagram: `length` of a recv is what the buffer took, and one more item, `whole`, the
datagram's own length; `number` the sequence number in its payload, or null.
"""

from __future__ import annotations

import socket

from lab.inside import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALLS_KEPT = 10_000
"""Calls kept of each connection."""
OPTIONS = {
    "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    "cork": (socket.IPPROTO_TCP, socket.TCP_CORK),
    "maxseg": (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    "sndbuf": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "rcvbuf": (socket.SOL_SOCKET, socket.SO_RCVBUF),
}
"""Options that decide where a stream is cut."""
_OF_SOCKET = ("sndbuf", "rcvbuf")
"""Those that a datagram socket has too."""

Address = tuple[str, int]


class ConnectionLog:
    """The calls on one connection, both directions."""

    def __init__(self, *, protocol: str, local: Address, remote: Address | None, most_calls: int = CALLS_KEPT) -> None:
        self.protocol = protocol
        self.local = local
        self.remote = remote
        self.sent_bytes = 0
        self.received_bytes = 0
        self._options: list[tuple[int, dict[str, int]]] = []
        self._calls: list[tuple[Any, ...]] = []
        self._ends: dict[str, list[int]] = {"sent": [], "taken": []}
        self._most_calls = most_calls
        self._left_out = 0

    def read_options(self, sock: socket.socket, now_ns: int) -> None:
        """Note the options as they are now; a socket that is closed has none."""
        names = OPTIONS if self.protocol == "tcp" else _OF_SOCKET
        try:
            values = {name: sock.getsockopt(*OPTIONS[name]) for name in names}
        except OSError:
            return
        if not self._options or self._options[-1][1] != values:
            self._options.append((now_ns, values))

    def send(self, length: int, asked: int, begin_ns: int, end_ns: int, *more: int | None) -> None:
        """Note a send call."""
        self._note("send", self.sent_bytes, length, asked, begin_ns, end_ns, *more)
        self.sent_bytes += length

    def recv(self, length: int, asked: int, begin_ns: int, end_ns: int, *more: int | None) -> None:
        """Note a recv call that brought something."""
        self._note("recv", self.received_bytes, length, asked, begin_ns, end_ns, *more)
        self.received_bytes += length

    def message_sent(self, end: int | None = None) -> None:
        """Note that a message of the program ends here: at all that was sent so far, or at that offset."""
        self._end("sent", self.sent_bytes if end is None else end)

    def message_taken(self, end: int | None = None) -> None:
        """Note that the program took what it received up to here for a whole message."""
        self._end("taken", self.received_bytes if end is None else end)

    def _note(self, *call: Any) -> None:
        if len(self._calls) < self._most_calls:
            self._calls.append(call)
        else:
            self._left_out += 1

    def _end(self, which: str, offset: int) -> None:
        if not self._left_out:
            self._ends[which].append(offset)

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds of it.

        Calls on one UDP socket may be made by many threads, and each is noted when it has ended: they are put into the
        order in which they began. A TCP connection is one thread's at a time.
        """
        calls = sorted(self._calls, key=_begin_ns) if self.protocol == "udp" else self._calls
        return {
            "protocol": self.protocol,
            "local": self.local,
            "remote": self.remote,
            "options": self._options,
            "calls": calls,
            **self._ends,
            "left_out": self._left_out,
        }


def _begin_ns(call: tuple[Any, ...]) -> int:
    return int(call[4])


def own_end(local: Address, peer: Address) -> Address:
    """Return this end of an exchange with `peer`: of a socket bound to every address, the one of the route there.

    Raises: OSError where there is no route.
    """
    if local[0] != "0.0.0.0":
        return local
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(peer)  # sends nothing: a UDP socket only looks up the route
        return (route.getsockname()[0], local[1])


class BoundaryLog:
    """The first `most` connections of a program."""

    def __init__(self, most: int, *, most_calls: int = CALLS_KEPT) -> None:
        self._most = most
        self._most_calls = most_calls
        self._logs: list[ConnectionLog] = []

    @property
    def full(self) -> bool:
        """No further connection is logged."""
        return len(self._logs) >= self._most

    def open(self, protocol: str, local: Address, remote: Address | None) -> ConnectionLog | None:
        """Begin the log of a connection; None when enough are logged."""
        if self.full:
            return None
        log = ConnectionLog(protocol=protocol, local=local, remote=remote, most_calls=self._most_calls)
        self._logs.append(log)
        return log

    def store(self, program: str) -> None:
        """Write the file, if there is anything to write."""
        connections = [log.as_json() for log in self._logs]
        if any(one["calls"] for one in connections):
            lifecycle.store_result(f"boundaries-{program}", {"program": program, "connections": connections})
