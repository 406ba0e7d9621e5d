"""One change of this host's network configuration: a request to the kernel over rtnetlink(7), and its answer.

Uses the C half of `socket` alone, like the rest of what the keeper loads (`lifecycle.py`).
"""

from __future__ import annotations

import os
import struct
from _socket import AF_NETLINK, NETLINK_ROUTE, SOCK_RAW, socket

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port

# linux/rtnetlink.h
ROUTE = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
RT_TABLE_MAIN = 254


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def request(message_type: int, flags: int, body: bytes) -> None:
    """Ask the kernel for the change. Raises OSError where it refuses; EPERM without CAP_NET_ADMIN."""
    header = _HEADER.pack(_HEADER.size + len(body), message_type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0)
    netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)
    try:
        netlink.sendto(header + body, (0, 0))
        answer = netlink.recv(4096)
    finally:
        netlink.close()
    error = -int(struct.unpack_from("=i", answer, _HEADER.size)[0])  # struct nlmsgerr
    if error:
        raise OSError(error, f"rtnetlink: {os.strerror(error)}")
