"""The names that scripts use: socket options, socket states, timers. Beside each what the kernel calls it."""

from __future__ import annotations

from lab.inside.socket_options import socket_options

OPTIONS = socket_options(
    "nodelay cork quickack maxseg syncnt defer_accept user_timeout window_clamp keepalive "
    "keepidle keepintvl keepcnt linger reuseaddr reuseport sndbuf rcvbuf rcvlowat tos ttl recverr mtu_discover"
)
"""`linger` is the time in seconds. `mtu_discover`: 0 never sets "don't fragment", 2 always does. `recverr` hands ICMP
errors that a datagram socket would pass over to its next call."""

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
