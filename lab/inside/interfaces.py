"""The network interfaces of this network stack, with their addresses, as rtnetlink(7) tells them.

Asked of the kernel through a netlink socket, since /sys may belong to another network namespace than this process.
"""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_RAW, inet_ntop, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NETLINK_ROUTE = 0
_RTM_GETLINK, _RTM_GETADDR = 18, 22
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU = 1, 3, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_ATTRIBUTE_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
_IFADDRMSG = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type


def read_interfaces() -> dict[str, dict[str, Any]]:
    """By name: `mac`, `mtu`, `up` and `addresses` (`10.0.0.1/24`, IPv4 before IPv6)."""
    names: dict[int, str] = {}
    interfaces: dict[str, dict[str, Any]] = {}
    for body in _dump(_RTM_GETLINK):
        _family, _hardware, index, flags, _change = _IFINFOMSG.unpack_from(body)
        found = _attributes(body[_IFINFOMSG.size :])
        names[index] = name = found[_IFLA_IFNAME].rstrip(b"\0").decode()
        interfaces[name] = {
            "mac": found.get(_IFLA_ADDRESS, b"").hex(":"),
            "mtu": struct.unpack("=I", found[_IFLA_MTU])[0],
            "up": bool(flags & _IFF_UP),
            "addresses": [],
        }
    for body in _dump(_RTM_GETADDR):
        _family, prefix, _flags, _scope, index = _IFADDRMSG.unpack_from(body)
        found = _attributes(body[_IFADDRMSG.size :])
        address = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
        if len(address) in (4, 16) and index in names:
            interfaces[names[index]]["addresses"].append(
                f"{inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)}/{prefix}"
            )
    return interfaces


def _dump(kind: int) -> Iterator[bytes]:
    """The bodies of all messages that answer a dump request."""
    sock = socket(AF_NETLINK, SOCK_RAW, _NETLINK_ROUTE)
    try:
        sock.bind((0, 0))
        sock.send(
            _HEADER.pack(_HEADER.size + _IFINFOMSG.size, kind, _NLM_F_REQUEST_DUMP, 1, 0) + bytes(_IFINFOMSG.size)
        )
        while True:
            data = sock.recv(1 << 16)
            while data:
                length, answer, _flags, _sequence, _port = _HEADER.unpack_from(data)
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data, _HEADER.size)[0]
                    raise OSError(number, f"rtnetlink refused request {kind}")
                yield data[_HEADER.size : length]
                data = data[length + 3 & ~3 :]
    finally:
        sock.close()


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind & _ATTRIBUTE_TYPE] = data[_ATTRIBUTE.size : length]
        data = data[length + 3 & ~3 :]
    return found
