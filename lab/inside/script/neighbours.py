"""Cut the way to another host, and mend it: frames for it go to an Ethernet address that no switch passes on.

01:80:c2:00:00:01 is the address of PAUSE frames: IEEE 802.1D forbids every bridge to forward them, and Linux bridges
drop them. A permanent neighbour entry (arp(7)) that gives the other host this address loses all that is sent to it,
one way only, and on the wire: the sender's kernel counts the segments as sent and its capture shows them; the other
host never sees them. That is what a broken link or a vanished host looks like from one side, with no queueing
discipline and no firewall.

Removing the entry makes the kernel ask for the true address again. It takes CAP_NET_ADMIN (rtnetlink(7)).
"""

from __future__ import annotations

import fcntl
import socket
import struct

NOWHERE = bytes.fromhex("0180c2000001")

# linux/rtnetlink.h, linux/netlink.h, linux/neighbour.h
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
NLMSG_ERROR = 2
NUD_PERMANENT = 0x80
NDA_DST, NDA_LLADDR = 1, 2
_NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type


def cut(address: str, interface: str) -> None:
    """Lose everything this host sends to `address` through `interface`. Raises OSError."""
    attributes = _attribute(NDA_DST, socket.inet_aton(address)) + _attribute(NDA_LLADDR, NOWHERE)
    _request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, interface, NUD_PERMANENT, attributes)


def mend(address: str, interface: str) -> None:
    """End `cut`. Raises OSError, ENOENT if nothing was cut."""
    _request(RTM_DELNEIGH, 0, interface, 0, _attribute(NDA_DST, socket.inet_aton(address)))


def interface_towards(address: str) -> str:
    """Return the interface whose own address is the one the kernel would send from. Raises OSError without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing: a UDP socket only looks up the route
        own = probe.getsockname()[0]
        for _index, name in socket.if_nameindex():
            if _address_of(name, probe) == own:
                return name
    raise OSError(f"no interface has the address {own}")


def _address_of(interface: str, any_socket: socket.socket) -> str | None:
    siocgifaddr = 0x8915  # netdevice(7)
    try:
        answer = fcntl.ioctl(any_socket, siocgifaddr, struct.pack("256s", interface.encode()))
    except OSError:  # it has no IPv4 address
        return None
    return socket.inet_ntoa(answer[20:24])


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def _request(message_type: int, flags: int, interface: str, state: int, attributes: bytes) -> None:
    body = _NDMSG.pack(socket.AF_INET, socket.if_nametoindex(interface), state, 0, 0) + attributes
    header = struct.pack("=IHHII", 16 + len(body), message_type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(header + body, (0, 0))
        answer = netlink.recv(4096)
    error = -int(struct.unpack_from("=i", answer, 16)[0])
    if error:
        raise OSError(error, f"neighbour entry on {interface}")
