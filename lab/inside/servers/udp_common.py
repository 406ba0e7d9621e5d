"""What the UDP servers share: sending an answer back, and reading how much the kernel threw away."""

from __future__ import annotations

import socket
import struct

from lab.inside.servers.counters import Counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SO_MEMINFO = 55
"""Socket option (Linux 4.11): an array of counters, SK_MEMINFO_*; the ninth is the number of datagrams dropped."""
SK_MEMINFO_DROPS = 8


def send_to(sock: socket.socket, piece: bytes, peer: Any, count: Counters) -> None:
    """Send one datagram; what cannot be sent is counted and gone, as is the way of UDP."""
    try:
        count.bytes_out += sock.sendto(piece, peer)
    except OSError:
        count.send_errors += 1


def read_dropped(sock: socket.socket) -> int:
    """Datagrams dropped on this socket so far, because its receive buffer was full (or their checksum wrong)."""
    counters = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (SK_MEMINFO_DROPS + 1))
    return int(struct.unpack(f"={SK_MEMINFO_DROPS + 1}I", counters)[SK_MEMINFO_DROPS])
