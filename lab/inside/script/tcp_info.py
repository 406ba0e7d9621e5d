"""What TCP itself knows of one open connection: the socket option TCP_INFO (tcp(7), linux/tcp.h), decoded."""

from __future__ import annotations

import socket
import struct

_TCP_INFO = struct.Struct("=8B24I")
_FIELDS = {
    "rto_ns": (8, 1000),
    "snd_mss": (10, 1),
    "rcv_mss": (11, 1),
    "unacked": (12, 1),
    "lost": (14, 1),
    "retransmitting": (15, 1),
    "pmtu": (21, 1),
    "rtt_ns": (23, 1000),
    "cwnd": (26, 1),
    "total_retransmits": (31, 1),
}
"""Name: place in the structure, factor to the lab's unit."""

FIELDS = tuple(_FIELDS)


def read_tcp_info(connection: socket.socket) -> dict[str, int]:
    """Return the connection's numbers: times in ns, sizes in bytes, the others in segments. Raises OSError."""
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    values = _TCP_INFO.unpack(raw.ljust(_TCP_INFO.size, b"\0"))
    return {name: values[place] * factor for name, (place, factor) in _FIELDS.items()}
