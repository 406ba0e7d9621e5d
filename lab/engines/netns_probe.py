"""Try what hosts need, in namespaces of this process's own, and print what was found as JSON.

Run as a child by `netns_facts`: it ends up in namespaces it cannot leave, and all it made ends with it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.engines.cgroups import Limits, NoLimits
from lab.engines.netns_obstacles import Obstacle, enter_namespaces, needs_user_namespace

_SYS_IO_URING_SETUP = 425  # the same on every architecture


def main() -> int:
    root = not needs_user_namespace()
    try:
        enter_namespaces()
        found = _try_all(root)
    except Obstacle as obstacle:
        found = {"obstacle": str(obstacle), "hint": obstacle.hint}
    print(json.dumps(found))
    return 0


def _try_all(root: bool) -> dict[str, Any]:
    from pyroute2 import IPRoute

    with IPRoute() as stack:
        _try_links(stack)
        missing = [name for name, trial in PROBES.items() if not _works(trial, stack)]
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return {"root": root, "missing": missing, "nofile_hard": _nofile_hard(), "port_range": [int(low), int(high)]}


def _try_links(stack: Any) -> None:
    """Do what no run can do without. Raises Obstacle."""
    from pyroute2 import NetlinkError

    for what, kind, extra in (("virtual Ethernet", "veth", {"peer": "veth1"}), ("a bridge", "bridge", {})):
        try:
            stack.link("add", ifname=f"{kind}0", kind=kind, **extra)
        except NetlinkError as error:
            module = f"the kernel lacks the module {kind}" if error.code == errno.EOPNOTSUPP else str(error)
            raise Obstacle(
                f"{what} cannot be made: {module}", f"sudo modprobe {kind}, or use another kernel"
            ) from error
    if not Path("/etc/hosts").exists():
        raise Obstacle("/etc/hosts is not there to be covered by each host's own", "sudo touch /etc/hosts")
    try:
        Path("/proc/sys/net/ipv4/tcp_fin_timeout").write_text("60\n")
    except OSError as error:
        raise Obstacle(
            f"/proc/sys is read-only ({error.strerror}), as in most containers: hosts get no sysctls",
            "run outside the container, or start it with --privileged",
        ) from error
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        raise Obstacle(f"packet sockets are refused: {error}", "use a kernel with CONFIG_PACKET") from error


def _works(trial: Callable[[Any], object], stack: Any) -> bool:
    """Whether a trial succeeds. pyroute2's NetlinkError is no OSError."""
    from pyroute2 import NetlinkError

    try:
        trial(stack)
    except (OSError, NetlinkError, NoLimits):
        return False
    return True


def _index(stack: Any, name: str) -> int:
    return int(stack.link_lookup(ifname=name)[0])


def _try_io_uring(_stack: Any) -> None:
    """Set up a ring of one entry, as the programs will: without any capability."""
    if int(_read_or("/proc/sys/kernel/io_uring_disabled", "0")) > 0:
        raise OSError(errno.EPERM, "kernel.io_uring_disabled")
    parameters = ctypes.create_string_buffer(120)  # struct io_uring_params, all zero
    os.close(_system_call(_SYS_IO_URING_SETUP, 1, ctypes.byref(parameters)))


def _system_call(number: int, *arguments: Any) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def _try_limits(_stack: Any) -> None:
    """Make control groups as a run with limits would."""
    Limits(f"probe-{os.getpid()}").remove()


def _nofile_hard() -> int:
    """The most descriptors a program can be given: root may go beyond the hard limit, up to fs.nr_open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most
    return hard


def _read_or(path: str, default: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return default


PROBES: dict[str, Callable[[Any], object]] = {
    "netem": lambda stack: stack.tc("add", "netem", index=_index(stack, "veth0"), delay=1000),
    "io_uring": _try_io_uring,
    "limits": _try_limits,
}
"""What a scenario might want: name in `Facts.missing` -> a trial that raises where the machine lacks it."""


if __name__ == "__main__":
    sys.exit(main())
