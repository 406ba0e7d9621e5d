"""The memory ledger: levels by the second, joined to the fleet's phases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.memory_tables import MEMORY, SLABS, memory_tables

SECOND = 1_000_000_000


def sample(second: int, *, slab: int, sockets: int) -> dict[str, Any]:
    return {
        "t_ns": second * SECOND,
        "monotonic_ns": second * SECOND,
        "meminfo": {"MemTotal": 10**10, "MemFree": 10**9, "AnonPages": 5_000, "Cached": 7, "Slab": slab},
        "slab": {"TCP": [sockets * 2, sockets * 2 * 2_500]},
        "stack": {"sockstat.TCP.inuse": sockets, "sockstat.TCP.mem": 3},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    server = tmp_path / "hosts" / "server"
    server.mkdir(parents=True)
    samples = [sample(0, slab=1_000, sockets=1), sample(1, slab=51_000, sockets=6), sample(2, slab=900, sockets=1)]
    (server / "memory.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    for name, begin, end in (("client-1", 0.5, 1.2), ("client-2", 0.9, 1.5)):
        (tmp_path / "hosts" / name).mkdir()
        phase = {"phase": "connect", "begin_realtime_ns": int(begin * SECOND), "end_realtime_ns": int(end * SECOND)}
        (tmp_path / "hosts" / name / "fleet.json").write_text(json.dumps({"phases": [phase]}))
    return tmp_path


def test_the_kernels_memory_for_a_pair_is_the_growth_of_its_objects_over_the_growth_of_sockets(folder: Path) -> None:
    memory = memory_tables(folder)["memory"]
    assert memory["kernel_bytes_per_pair"].to_list() == [None, 10_000.0, None]
    assert memory["slab_growth_bytes"].to_list() == [0, 50_000, -100]


def test_a_sample_belongs_to_the_phase_that_any_fleet_host_was_in(folder: Path) -> None:
    assert memory_tables(folder)["memory"]["phase"].to_list() == [None, "connect", None]


def test_slab_caches_stand_in_a_table_of_their_own_one_row_a_sample(folder: Path) -> None:
    slabs = memory_tables(folder)["slabs"]
    assert slabs["objects"].to_list() == [2, 12, 2]
    assert slabs["bytes"].to_list() == [5_000, 30_000, 5_000]


def test_a_run_without_samples_has_both_tables_empty_and_whole(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    tables = memory_tables(tmp_path)
    assert tables["memory"].columns == [column.name for column in MEMORY]
    assert tables["slabs"].columns == [column.name for column in SLABS]
    assert tables["memory"].is_empty()
