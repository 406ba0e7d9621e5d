"""The machine's memory: the parsers on real text, and what open connections add to the ledger."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from lab.inside import memory

# Cut from a Linux 6.18 machine.
MEMINFO = """\
MemTotal:       24683708 kB
MemFree:        20395560 kB
AnonPages:        812340 kB
Slab:             398720 kB
HugePages_Total:       0
"""
SLABINFO = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
ext4_inode_cache    9000   9100   1184   27    8 : tunables    0    0    0 : slabdata    337    337      0
TCP                   79     91   2368   13    8 : tunables    0    0    0 : slabdata      7      7      0
filp                1607   2016    192   21    1 : tunables    0    0    0 : slabdata     96     96      0
"""  # noqa: E501 - the kernel's own columns


def test_meminfo_is_read_in_bytes_and_of_the_named_lines_alone() -> None:
    assert memory.parse_meminfo(MEMINFO) == {
        "MemTotal": 24683708 * 1024,
        "MemFree": 20395560 * 1024,
        "AnonPages": 812340 * 1024,
        "Slab": 398720 * 1024,
    }


def test_slab_caches_of_connections_are_counted_in_objects_and_in_the_bytes_of_their_slabs() -> None:
    assert memory.parse_slabinfo(SLABINFO, page_bytes=4096) == {"TCP": [79, 7 * 8 * 4096], "filp": [1607, 96 * 4096]}


def test_without_slabinfo_the_sum_of_meminfo_remains(tmp_path: Path) -> None:
    shutil.copy("/proc/meminfo", tmp_path / "meminfo")
    read = memory.read_memory(tmp_path)
    assert read["slab"] == {}
    assert read["meminfo"]["Slab"] > 0  # type: ignore[index]


@pytest.mark.skipif(not os.access("/proc/slabinfo", os.R_OK), reason="/proc/slabinfo is for root alone")
def test_sockets_show_in_their_slab_cache() -> None:
    def tcp_objects() -> int:
        return memory.parse_slabinfo(Path("/proc/slabinfo").read_text()).get("TCP", [0, 0])[0]

    before = tcp_objects()
    if before == 0:
        pytest.skip("this kernel has merged the cache TCP with another one")
    ends = [socket.socket() for _ in range(2_000)]
    try:
        # Others open and close sockets meanwhile, and freed objects may linger: ask for half of ours.
        assert tcp_objects() - before > 1_000
    finally:
        for end in ends:
            end.close()
