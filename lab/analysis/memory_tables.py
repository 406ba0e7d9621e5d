"""Where the machine's memory went while connections opened, as tables: `memory` (a row a second) and `slabs`.

Goes in: a run folder; the server's host keeper sampled the machine (`hosts/<host>/memory.jsonl`) and the fleet told
when its phases began (`fleet.json`). Comes out: levels, not differences. They are the whole machine's: what else runs
on it is in them, so `kernel_bytes_per_pair` is only worth something where connections are many or the machine is quiet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis.tables import Column

I64, REAL, TEXT = pl.Int64, pl.Float64, pl.String
MEMINFO = "meminfo of this kernel has no such line"

MEMORY = (
    Column("host", TEXT, "", "the host whose keeper read it"),
    Column("t_ns", I64, "ns", "when, since 1970"),
    Column("phase", TEXT, "", "the fleet's phase at that time", "before the first one, or after the last"),
    Column("sockets", I64, "", "TCP sockets in use in that host's network stack"),
    Column("time_wait", I64, "", "of its connections, those in TIME-WAIT"),
    Column("socket_memory_bytes", I64, "bytes", "memory in TCP's buffers, of all stacks of the machine"),
    Column("free_bytes", I64, "bytes", "MemFree"),
    Column("available_bytes", I64, "bytes", "MemAvailable", MEMINFO),
    Column("user_bytes", I64, "bytes", "AnonPages: memory of programs"),
    Column("cache_bytes", I64, "bytes", "Cached: the page cache, files being written among it"),
    Column("slab_bytes", I64, "bytes", "Slab: all kernel objects"),
    Column("page_table_bytes", I64, "bytes", "PageTables"),
    Column("kernel_stack_bytes", I64, "bytes", "KernelStack: of threads and processes"),
    Column("slab_growth_bytes", I64, "bytes", "slab_bytes less those of the first row"),
    Column(
        "kernel_bytes_per_pair", REAL, "bytes", "slab_growth_bytes / growth of sockets", "no socket more than at first"
    ),
)
SLABS = (
    Column("host", TEXT, "", "the host whose keeper read it"),
    Column("t_ns", I64, "ns", "when, since 1970; rows of `memory` have the same"),
    Column("cache", TEXT, "", "slab cache, as /proc/slabinfo names it"),
    Column("objects", I64, "", "objects in use"),
    Column("bytes", I64, "bytes", "what its slabs take"),
)
_MEMINFO_COLUMNS = {
    "free_bytes": "MemFree",
    "available_bytes": "MemAvailable",
    "user_bytes": "AnonPages",
    "cache_bytes": "Cached",
    "slab_bytes": "Slab",
    "page_table_bytes": "PageTables",
    "kernel_stack_bytes": "KernelStack",
}
_PAGE_BYTES = 4096
"""What /proc/net/sockstat counts memory in."""


def memory_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return both tables; empty ones for a run whose keepers sampled no memory."""
    phases = _phases(folder)
    memory: list[dict[str, Any]] = []
    slabs: list[dict[str, Any]] = []
    for path in sorted((folder / "hosts").glob("*/memory.jsonl")):
        host = path.parent.name
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        for sample in samples:
            memory.append({"host": host, **_row(sample, samples[0], phases)})
            slabs += [
                {"host": host, "t_ns": sample["t_ns"], "cache": cache, "objects": objects, "bytes": size}
                for cache, (objects, size) in sample["slab"].items()
            ]
    return {"memory": _frame(memory, MEMORY), "slabs": _frame(slabs, SLABS)}


def _row(sample: dict[str, Any], first: dict[str, Any], phases: list[tuple[str, int, int]]) -> dict[str, Any]:
    row: dict[str, Any] = {name: sample["meminfo"].get(key) for name, key in _MEMINFO_COLUMNS.items()}
    stack = sample["stack"]
    growth = row["slab_bytes"] - first["meminfo"]["Slab"]
    more = stack.get("sockstat.TCP.inuse", 0) - first["stack"].get("sockstat.TCP.inuse", 0)
    return row | {
        "t_ns": sample["t_ns"],
        "phase": next((name for name, begin, end in phases if begin <= sample["t_ns"] < end), None),
        "sockets": stack.get("sockstat.TCP.inuse", 0),
        "time_wait": stack.get("sockstat.TCP.tw", 0),
        "socket_memory_bytes": stack.get("sockstat.TCP.mem", 0) * _PAGE_BYTES,
        "slab_growth_bytes": growth,
        "kernel_bytes_per_pair": growth / more if more > 0 else None,
    }


def _phases(folder: Path) -> list[tuple[str, int, int]]:
    """Return each phase's name, begin and end: from the first fleet host's begin to the last one's end."""
    told = [json.loads(path.read_text()).get("phases", []) for path in (folder / "hosts").glob("*/fleet.json")]
    return [
        (same[0]["phase"], min(p["begin_realtime_ns"] for p in same), max(p["end_realtime_ns"] for p in same))
        for same in zip(*told, strict=False)
    ]


def _frame(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        {column.name: pl.Series([row.get(column.name) for row in rows], dtype=column.dtype) for column in columns}
    )
