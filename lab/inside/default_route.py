"""Take the way out of a host away: its default routes.

A host's world is the networks that its scenario joins it to. Docker gives containers a default route to the machine, so
that a packet for a network to which no route is written would leave for there and never be heard of again; on the
engine netns connect(2) fails at once with ENETUNREACH, as it does on a real host without a router. Without a default
route it is the same on both, and nothing gets out.

Uses the C half of `socket` alone, like the rest of what the keeper loads (`lifecycle.py`). It takes CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import os
import struct
from _socket import AF_INET, AF_NETLINK, SOCK_RAW, socket

_NETLINK_ROUTE = 0
_RTM_DELROUTE = 25
_NLM_F_REQUEST_ACK = 0x5
_RT_TABLE_MAIN, _RT_SCOPE_NOWHERE = 254, 255
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_RTMSG = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
_MOST_ROUTES = 16


def remove_default_routes() -> int:
    """Remove all of them (IPv4); return how many there were. Raises OSError where the kernel refuses."""
    for removed in range(_MOST_ROUTES):
        error = _delete_one()
        if error == errno.ESRCH:
            return removed
        if error:
            raise OSError(error, f"cannot remove the default route: {os.strerror(error)}")
    return _MOST_ROUTES


def _delete_one() -> int:
    """Ask the kernel to remove one route to everywhere; return its errno, or 0."""
    body = _RTMSG.pack(AF_INET, 0, 0, 0, _RT_TABLE_MAIN, 0, _RT_SCOPE_NOWHERE, 0, 0)
    sock = socket(AF_NETLINK, SOCK_RAW, _NETLINK_ROUTE)
    try:
        sock.bind((0, 0))
        sock.send(_HEADER.pack(_HEADER.size + len(body), _RTM_DELROUTE, _NLM_F_REQUEST_ACK, 1, 0) + body)
        answer = sock.recv(4096)
    finally:
        sock.close()
    return -int(struct.unpack_from("=i", answer, _HEADER.size)[0])  # struct nlmsgerr
