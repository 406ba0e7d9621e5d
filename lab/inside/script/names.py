"""The names that scripts use: socket options, socket states, timers. Beside each what the kernel calls it."""

from __future__ import annotations

import socket

OPTIONS: dict[str, tuple[int, int]] = {
    "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    "cork": (socket.IPPROTO_TCP, socket.TCP_CORK),
    "quickack": (socket.IPPROTO_TCP, socket.TCP_QUICKACK),
    "maxseg": (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    "syncnt": (socket.IPPROTO_TCP, socket.TCP_SYNCNT),
    "defer_accept": (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
    "user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    "window_clamp": (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
    "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "keepidle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "keepintvl": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "keepcnt": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "linger": (socket.SOL_SOCKET, socket.SO_LINGER),
    "reuseaddr": (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    "reuseport": (socket.SOL_SOCKET, socket.SO_REUSEPORT),
    "sndbuf": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "rcvbuf": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    "rcvlowat": (socket.SOL_SOCKET, socket.SO_RCVLOWAT),
    "tos": (socket.IPPROTO_IP, socket.IP_TOS),
    "mtu_discover": (socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER, linux/in.h
}
"""See socket(7), tcp(7) and ip(7). `linger` is the time in seconds; the kernel keeps keepalive times in seconds too."""

STATES = (
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
)
"""RFC 9293's names in the order of the kernel's numbers from 1 on (net/tcp_states.h). CLOSED: no such socket."""
NEW_SYN_RECEIVED = 12
"""The kernel's number for a connection request that is no socket yet: SYN-RECEIVED to the RFC."""

TIMERS = ("none", "retransmit", "keepalive", "time-wait", "probe")
"""In the order of the kernel's numbers from 0 on (`tr` in proc_net_tcp.rst)."""
