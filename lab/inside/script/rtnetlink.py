"""One change of this host's network configuration: a request to the kernel over rtnetlink(7), and its answer."""

from __future__ import annotations

import os
import socket
import struct

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def request(message_type: int, flags: int, body: bytes) -> None:
    """Ask the kernel for the change. Raises OSError where it refuses; EPERM without CAP_NET_ADMIN."""
    header = _HEADER.pack(_HEADER.size + len(body), message_type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(header + body, (0, 0))
        answer = netlink.recv(4096)
    error = -int(struct.unpack_from("=i", answer, _HEADER.size)[0])  # struct nlmsgerr
    if error:
        raise OSError(error, f"rtnetlink: {os.strerror(error)}")
