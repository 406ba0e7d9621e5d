"""Enter the namespaces of a run, or say in a user's words what stands in the way and how to remove it.

As root the run needs no user namespace. Anybody else, and root without its capabilities (in a container), becomes root
of a user namespace first: that alone lets an ordinary user make network, mount and PID namespaces.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lab.engines import namespaces as ns

NEEDED_CAPABILITIES = frozenset({"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SETPCAP", "SYS_CHROOT", "KILL"})
"""What a process must hold to build hosts without a user namespace."""


class Obstacle(Exception):
    """Namespaces cannot be had: `str()` names what stands in the way, `hint` the remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def needs_user_namespace() -> bool:
    return not ns.effective_capabilities() >= NEEDED_CAPABILITIES


def enter_namespaces() -> None:
    """Move this process into new user (where needed), mount, network, UTS and IPC namespaces, and its children into a
    PID namespace. Raises Obstacle.
    """
    # Read now: inside a user namespace the same files tell its own limits, while those outside hold as well.
    forbidden = [kind for kind in ("net", "mnt", "pid", "uts", "ipc") if _setting(f"user/max_{kind}_namespaces") == "0"]
    ordinary = needs_user_namespace()
    if ordinary:
        uid, gid = os.getuid(), os.getgid()
        try:
            ns.unshare(ns.CLONE_NEWUSER)
        except OSError as error:
            raise _no_user_namespace(error) from error
        try:
            ns.map_to_root(uid, gid)
        except OSError as error:
            raise _no_mapping(error, uid, forbidden) from error
    try:
        ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWPID | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC)
        ns.mount("none", "/", None, ns.MS_REC | ns.MS_SLAVE)
    except OSError as error:
        raise _no_namespace(error, forbidden, ordinary=ordinary) from error


def _setting(name: str) -> str | None:
    """The value of a sysctl, or None where this kernel has none of that name."""
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _no_user_namespace(error: OSError) -> Obstacle:
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return Obstacle(
            "user namespaces are forbidden to ordinary users (kernel.unprivileged_userns_clone = 0)",
            "sudo sysctl kernel.unprivileged_userns_clone=1, or run as root",
        )
    if error.errno == errno.ENOSPC:
        return Obstacle(
            f"no more user namespaces are allowed (user.max_user_namespaces = {_setting('user/max_user_namespaces')})",
            "sudo sysctl user.max_user_namespaces=15000, or run as root",
        )
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return Obstacle("this kernel has no user namespaces (CONFIG_USER_NS)", "run as root, or use another kernel")
    return Obstacle(
        f"user namespaces are refused ({error}): a seccomp filter or security module, as in most containers",
        "run outside the container, start it with --privileged, or run as root",
    )


def _no_mapping(error: OSError, uid: int, forbidden: list[str]) -> Obstacle:
    """Root without CAP_SETFCAP may not even be root of its own user namespace (user_namespaces(7), Linux 5.12)."""
    if uid == 0:
        return Obstacle(
            f"root lacks the capabilities for it ({error.strerror}): {', '.join(sorted(NEEDED_CAPABILITIES))} "
            "(or SETFCAP, for a user namespace)",
            "start the container with --privileged, or run as an ordinary user",
        )
    return _no_namespace(error, forbidden, ordinary=True)


def _no_namespace(error: OSError, forbidden: list[str], *, ordinary: bool) -> Obstacle:
    if ordinary and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return Obstacle(
            f"AppArmor makes user namespaces useless (kernel.apparmor_restrict_unprivileged_userns = 1): {error}",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        )
    if error.errno == errno.ENOSPC and forbidden:
        kind = forbidden[0]
        return Obstacle(
            f"no {kind} namespaces are allowed (user.max_{kind}_namespaces = 0)",
            f"sudo sysctl user.max_{kind}_namespaces=15000",
        )
    return Obstacle(
        f"namespaces cannot be made ({error}): a seccomp filter, security module or container forbids it",
        "run outside the container, start it with --privileged, or run as root",
    )
