"""Switch an interface's offloads, and read back what is in force.

Offloading means that the kernel hands the interface more than a packet: segments of up to 64 KiB to be cut later (TSO,
GSO), packets without a checksum, or packets joined on receipt (GRO, LRO). On a veth pair nobody ever cuts them: a
capture then shows "packets" far above the MSS and checksums that were never filled in, and what looks like one segment
is forty. Where a lesson is about segments, offloads are off on both ends of every link: the sender's setting decides
what the receiver gets.

Without scatter-gather and transmit checksums the kernel may not build such super-segments at all, so they belong to
the list. The calls are the ethtool ioctls (linux/ethtool.h, linux/sockios.h); changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from _socket import AF_INET, SOCK_DGRAM, socket

from lab.inside.native import Memory

_SIOCETHTOOL = 0x8946
_GET_FLAGS, _SET_FLAGS = 0x25, 0x26
_FLAG_LRO = 1 << 15
_GET_AND_SET = {
    "tso": (0x1E, 0x1F),  # ETHTOOL_GTSO, ETHTOOL_STSO, and so on
    "gso": (0x23, 0x24),
    "gro": (0x2B, 0x2C),
    "scatter_gather": (0x18, 0x19),
    "tx_checksum": (0x16, 0x17),
    "rx_checksum": (0x14, 0x15),
}
"""In the order for switching off: what builds on scatter-gather and checksums before these."""

_VALUE = struct.Struct("=II")  # struct ethtool_value: command, data
_IFREQ = struct.Struct("@16sP16x")  # interface's name, pointer to the command


def read_offloads(interface: str) -> dict[str, bool]:
    """Which offloads are on, `lro` included; one that the interface does not know is off."""
    sock = socket(AF_INET, SOCK_DGRAM)
    try:
        states = {name: bool(_call(sock, interface, get)) for name, (get, _set) in _GET_AND_SET.items()}
        states["lro"] = bool(_call(sock, interface, _GET_FLAGS) & _FLAG_LRO)
    finally:
        sock.close()
    return states


def switch_offloads(interface: str, *, on: bool) -> dict[str, bool]:
    """Switch every offload of `_GET_AND_SET`, and LRO off with them, and read back what came of it.

    What an interface refuses or does not know stays as it is: the answer tells. LRO is never switched on: it changes
    what is forwarded, and virtual interfaces have none.

    Raises: PermissionError without CAP_NET_ADMIN over the interface's namespace.
    """
    sock = socket(AF_INET, SOCK_DGRAM)
    try:
        for name in reversed(_GET_AND_SET) if on else _GET_AND_SET:
            _call(sock, interface, _GET_AND_SET[name][1], int(on))
        flags = _call(sock, interface, _GET_FLAGS)
        if not on and flags & _FLAG_LRO:
            _call(sock, interface, _SET_FLAGS, flags & ~_FLAG_LRO)
    finally:
        sock.close()
    return read_offloads(interface)


def _call(sock: socket, interface: str, command: int, data: int = 0) -> int:
    """One ethtool command; returns its data, 0 where the interface does not know the command."""
    value = Memory(_VALUE.pack(command, data))
    try:
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, _IFREQ.pack(interface.encode(), value.address))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return 0
        raise
    return int(_VALUE.unpack(value.read())[1])
