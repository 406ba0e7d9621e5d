"""The TCP sockets of this host as its kernel shows them: state, queues, timer, also of those no program holds any more.

Read from /proc/net/tcp, which needs no privilege and shows what `ss -tan` shows: one line a socket, TIME-WAIT sockets
and connection requests (SYN-RECEIVED, not yet a socket) among them. proc_net_tcp.rst in the kernel's documentation
names the columns.
"""

from __future__ import annotations

import socket
import struct

from lab.inside.frozen import frozen
from lab.inside.script.names import NEW_SYN_RECEIVED, STATES, TIMERS

Address = tuple[str, int]


@frozen
class KernelSocket:
    """One line of the table."""

    state: str
    """RFC 9293's name."""
    local_addr: str
    local_port: int
    remote_addr: str
    """`0.0.0.0` of a listening socket."""
    remote_port: int
    send_queue: int
    """Bytes sent or to be sent, and not acknowledged."""
    recv_queue: int
    """Bytes that the program has not received; of a listening socket the connections to accept."""
    timer: str
    """What the kernel waits for: `none`, `retransmit`, `keepalive`, `time-wait`, `probe` (of a zero window)."""
    retransmits: int
    """Timeouts in a row without an answer."""
    probes: int
    """Zero-window or keep-alive probes in a row without an answer."""


def read_sockets(table: str = "/proc/net/tcp") -> list[KernelSocket]:
    """Return the host's IPv4 TCP sockets, in the kernel's order."""
    with open(table) as file:
        return [_parse(line.split()) for line in file.read().splitlines()[1:]]


def _parse(fields: list[str]) -> KernelSocket:
    local_addr, local_port = _address(fields[1])
    remote_addr, remote_port = _address(fields[2])
    number = int(fields[3], 16)
    send_queue, recv_queue = (int(part, 16) for part in fields[4].split(":"))
    return KernelSocket(
        state="SYN-RECEIVED" if number == NEW_SYN_RECEIVED else STATES[number - 1],
        local_addr=local_addr,
        local_port=local_port,
        remote_addr=remote_addr,
        remote_port=remote_port,
        send_queue=send_queue,
        recv_queue=recv_queue,
        timer=TIMERS[int(fields[5].split(":")[0], 16)],
        retransmits=int(fields[6], 16),
        probes=int(fields[8]),
    )


def _address(text: str) -> Address:
    """Read `0100007F:2328`: the address as the machine's own integer, the port as a number."""
    address, port = text.split(":")
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def find_socket(local: Address, remote: Address | None, sockets: list[KernelSocket]) -> KernelSocket | None:
    """Return the socket between these ends; `remote` None: the one that listens at `local`'s port.

    None: the kernel has no such socket (any more): CLOSED.
    """
    for one in sockets:
        if remote is None:
            if one.state == "LISTEN" and one.local_port == local[1]:
                return one
        elif (one.local_addr, one.local_port, one.remote_addr, one.remote_port) == (*local, *remote):
            return one
    return None
