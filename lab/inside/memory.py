"""The machine's memory as the kernel accounts for it: /proc/meminfo, and the slab caches that connections live in.

In: the text of the two files. Out: bytes by name. Both tell of the whole machine, whatever network stack or container
the reader is in: a ledger of a run is a difference, and what else runs on the machine is in it.

A slab cache is a pool of equal kernel objects. An open TCP socket is one object each in `TCP` (the protocol's state),
`sock_inode_cache` (what makes it a file), `dentry` and `filp` (the open file), and one in `eventpoll_epi` when an epoll
watches it. /proc/slabinfo is readable by root alone: without it the sum (`Slab` of meminfo) has to do.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MEMINFO_NAMES = (
    *("MemTotal", "MemFree", "MemAvailable", "Cached", "AnonPages", "Slab", "SReclaimable", "SUnreclaim"),
    *("KernelStack", "PageTables", "Percpu"),
)
SLAB_CACHES = (
    *("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi", "ep_head", "request_sock_TCP", "tw_sock_TCP"),
    *("tcp_bind_bucket", "tcp_bind2_bucket", "skbuff_head_cache", "skbuff_small_head"),
)
"""What connections are made of; a cache that the kernel has merged with another one of its size is not listed."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def parse_meminfo(text: str) -> dict[str, int]:
    """Parse /proc/meminfo: `MemTotal: 24683708 kB`; bytes, of MEMINFO_NAMES alone."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in MEMINFO_NAMES:
            found[name] = int(rest.split()[0]) * 1024
    return found


def parse_slabinfo(text: str, *, page_bytes: int = _PAGE_BYTES) -> dict[str, list[int]]:
    """Parse /proc/slabinfo (slabinfo(5)): by cache of SLAB_CACHES, the objects in use and the bytes its slabs take."""
    found = {}
    for line in text.splitlines()[2:]:
        table, _, slabs = line.partition(" : slabdata ")
        name, active, _objects, _size, _per_slab, pages_per_slab, *_ = table.split()
        if name in SLAB_CACHES:
            found[name] = [int(active), int(slabs.split()[1]) * int(pages_per_slab) * page_bytes]
    return found


def read_memory(proc: str | Path = "/proc") -> dict[str, object]:
    """Read both; `slab` is empty where this user may not."""
    try:
        with open(f"{proc}/slabinfo") as file:
            slab = parse_slabinfo(file.read())
    except (PermissionError, FileNotFoundError):
        slab = {}
    with open(f"{proc}/meminfo") as file:
        return {"meminfo": parse_meminfo(file.read()), "slab": slab}
