"""The socket options that scenarios name: level and number of each, for setsockopt(2).

Servers, fleets and scripts each offer those that make sense for them; a name means the same in all. See socket(7),
tcp(7) and ip(7). `linger` is the time in seconds; the kernel keeps keepalive times in seconds too.
"""

from __future__ import annotations

import socket

_ALL: dict[str, tuple[int, int]] = {
    "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    "cork": (socket.IPPROTO_TCP, socket.TCP_CORK),
    "quickack": (socket.IPPROTO_TCP, socket.TCP_QUICKACK),
    "maxseg": (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    "syncnt": (socket.IPPROTO_TCP, socket.TCP_SYNCNT),
    "defer_accept": (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
    "fastopen": (socket.IPPROTO_TCP, socket.TCP_FASTOPEN),
    "user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    "window_clamp": (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
    "notsent_lowat": (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT),
    "keepidle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "keepintvl": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "keepcnt": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "linger": (socket.SOL_SOCKET, socket.SO_LINGER),
    "reuseaddr": (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    "reuseport": (socket.SOL_SOCKET, socket.SO_REUSEPORT),
    "sndbuf": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "rcvbuf": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    "rcvlowat": (socket.SOL_SOCKET, socket.SO_RCVLOWAT),
    "tos": (socket.IPPROTO_IP, socket.IP_TOS),
    "ttl": (socket.IPPROTO_IP, socket.IP_TTL),
    "recverr": (socket.IPPROTO_IP, 11),  # IP_RECVERR, linux/in.h
    "mtu_discover": (socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER, linux/in.h
}


def socket_options(names: str) -> dict[str, tuple[int, int]]:
    """Return (level, option) of each of the names, which blanks part."""
    return {name: _ALL[name] for name in names.split()}
