"""What a host may do on this machine, found out from inside one; one JSON object on standard output.

    python -m lab.inside.probe

Limits are read, kernel features are tried: whether a feature is there, and whether this place may use it, is known only
by using it. What it tries it takes away again.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import socket
import struct
from pathlib import Path
from typing import Any

LOOPBACK_INDEX = 1
SYS_IO_URING_SETUP = 425  # the same number on every architecture: io_uring_setup(2) is younger than the unified table

# linux/rtnetlink.h, linux/netlink.h, linux/pkt_sched.h
RTM_NEWQDISC, RTM_DELQDISC = 36, 37
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
NLMSG_ERROR = 2
TC_H_ROOT = 0xFFFFFFFF
TCA_KIND, TCA_OPTIONS = 1, 2
TC_NETEM_QOPT = struct.pack("=6I", 0, 1000, 0, 0, 0, 0)  # latency, limit (packets), loss, gap, duplicate, jitter


def main() -> None:
    print(json.dumps(probe()))


def probe() -> dict[str, Any]:
    """Return what was found; `missing` names features that cannot be used here."""
    tried = {"netem": has_netem(), "io_uring": has_io_uring()}
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "nofile_hard": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "pids_max": pids_max(),
        "file_max": _number("/proc/sys/fs/file-max"),
        "conntrack_max": _number("/proc/sys/net/netfilter/nf_conntrack_max"),
        "port_range": [int(n) for n in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()],
        "missing": sorted(name for name, there in tried.items() if there is False),
    }


def pids_max() -> int:
    """Return how many processes and threads there may be: the least of the kernel's and the control group's limits."""
    limits = [_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max")]
    limits += [_number("/sys/fs/cgroup/pids.max"), _number("/sys/fs/cgroup/pids/pids.max")]
    return min(limit for limit in limits if limit is not None)


def _number(path: str) -> int | None:
    """Read a number; None where there is no such file, or where it says `max`."""
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def has_io_uring() -> bool:
    """Say whether io_uring_setup(2) is there and allowed; Docker's default seccomp profile refuses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)  # struct io_uring_params
    descriptor = libc.syscall(SYS_IO_URING_SETUP, 1, parameters)
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


def has_netem() -> bool | None:
    """Say whether a netem queueing discipline can be set on an interface, by setting one on loopback.

    None if it may not be tried: that takes CAP_NET_ADMIN.
    """
    flags = NLM_F_REQUEST | NLM_F_ACK
    attributes = _attribute(TCA_KIND, b"netem\0") + _attribute(TCA_OPTIONS, TC_NETEM_QOPT)
    error = _change_qdisc(RTM_NEWQDISC, flags | NLM_F_CREATE | NLM_F_EXCL, attributes)
    if error in (1, 13):  # EPERM, EACCES
        return None
    if error == 0:
        _change_qdisc(RTM_DELQDISC, flags, b"")
    return error == 0


def _change_qdisc(message_type: int, flags: int, attributes: bytes) -> int:
    """Send one request about loopback's root queueing discipline; return the kernel's errno, 0 for success."""
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, LOOPBACK_INDEX, 0, TC_H_ROOT, 0) + attributes
    header = struct.pack("=IHHII", 16 + len(body), message_type, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(header + body, (0, 0))
        answer = netlink.recv(4096)
    _length, answer_type = struct.unpack_from("=IH", answer)
    return -int(struct.unpack_from("=i", answer, 16)[0]) if answer_type == NLMSG_ERROR else 0


def _attribute(kind: int, payload: bytes) -> bytes:
    """Return one netlink attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


if __name__ == "__main__":
    main()
