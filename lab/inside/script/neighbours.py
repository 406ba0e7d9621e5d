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

from lab.inside.rtnetlink import NLM_F_CREATE, NLM_F_REPLACE, attribute, request

NOWHERE = bytes.fromhex("0180c2000001")

# linux/rtnetlink.h, linux/neighbour.h
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
NUD_PERMANENT = 0x80
NDA_DST, NDA_LLADDR = 1, 2
_NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type


def cut(address: str, interface: str) -> None:
    """Lose everything this host sends to `address` through `interface`. Raises OSError."""
    attributes = attribute(NDA_DST, socket.inet_aton(address)) + attribute(NDA_LLADDR, NOWHERE)
    entry = _NDMSG.pack(socket.AF_INET, socket.if_nametoindex(interface), NUD_PERMANENT, 0, 0)
    request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry + attributes)


def mend(address: str, interface: str) -> None:
    """End `cut`. Raises OSError, ENOENT if nothing was cut."""
    entry = _NDMSG.pack(socket.AF_INET, socket.if_nametoindex(interface), 0, 0, 0)
    request(RTM_DELNEIGH, 0, entry + attribute(NDA_DST, socket.inet_aton(address)))


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
