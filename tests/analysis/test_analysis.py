"""The analysis as its callers meet it: lazy, streaming, cached, written to Parquet."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from lab.analysis import (
    analyze,
    compile_ahead,
    compiled,
    connections,
    endpoints,
    packet_columns,
    packets,
    write_parquet,
    write_vantages,
)
from tests.analysis.test_corpus import CASES, input_of
from tests.pcaps.craft import Ladder, write_pcap

ALL = [input_of(case) for case in CASES]


def test_importing_the_analysis_loads_neither_numba_nor_polars() -> None:
    code = "import sys, lab.analysis; print([name for name in ('numba', 'llvmlite', 'polars') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loops_that_are_compiled_already_do_without_the_compiler() -> None:
    analyze(ALL[:1])  # compiles what is not
    code = f"""
import sys
from pathlib import Path
from lab.analysis import analyze
tables = analyze([Path({str(ALL[0])!r})])
tables.packets(), tables.connections
print([name for name in ("numba.np.npyimpl", "numba.np.arraymath") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packets_too_many_to_keep_are_read_again_and_equal() -> None:
    assert analyze(ALL, keep_packets=0).packets().equals(analyze(ALL).packets())


def test_analysing_twice_gives_the_same_tables() -> None:
    first, second = analyze(ALL), analyze(ALL)
    assert first.connections.equals(second.connections)
    assert first.flows.equals(second.flows)
    assert first.captures.equals(second.captures)


def test_parquet_holds_the_tables(tmp_path: Path) -> None:
    analysis = analyze(ALL)
    write_parquet(analysis, tmp_path / "tables")
    made = {
        "packets": analysis.packets(),
        "connections": analysis.connections,
        "flows": analysis.flows,
        "captures": analysis.captures,
    }
    for name, table in made.items():
        assert pl.read_parquet(tmp_path / "tables" / f"{name}.parquet").equals(table), name


def test_tables_of_several_vantages_stand_one_after_the_other_with_their_names_in_front(tmp_path: Path) -> None:
    analyses = {"b": analyze(ALL), "nothing": analyze([]), "a": analyze(ALL[:9], keep_packets=0)}
    write_vantages(analyses, tmp_path / "all")
    for name, analysis in analyses.items():
        write_parquet(analysis, tmp_path / name)
    for path in (tmp_path / "all").iterdir():
        parts = {name: pl.read_parquet(tmp_path / name / path.name) for name in analyses}
        named = pl.read_parquet(path)
        assert named.columns[0] == "host"
        assert named["host"].to_list() == [name for name, part in parts.items() for _ in range(part.height)]
        assert named.drop("host").equals(pl.concat(parts.values()))


def test_parquet_of_nothing_has_the_columns(tmp_path: Path) -> None:
    write_parquet(analyze([]), tmp_path)
    assert pl.read_parquet(tmp_path / "packets.parquet").schema == analyze([]).packets().schema
    assert pl.read_parquet(tmp_path / "connections.parquet").height == 0


def test_a_client_that_the_caller_names_is_the_originator_midstream(tmp_path: Path) -> None:
    ladder = Ladder()
    ladder.b("PA", 100, ack=200, data=b"abc")
    ladder.a("A", 200, ack=103)
    path = tmp_path / "x.pcap"
    write_pcap(path, ladder.frames)
    assert analyze([path]).connections["orig_addr"].to_list() == ["10.0.0.2"]
    assert analyze([path], originators=["10.0.0.1"]).connections["orig_addr"].to_list() == ["10.0.0.1"]


def test_a_first_call_that_compiles_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(compile_ahead, "HALVES", {})
    monkeypatch.setattr(compiled, "compiles_on_first_call", lambda: True)
    analyze([], on_compile=said.append)
    monkeypatch.setattr(compiled, "compiles_on_first_call", lambda: False)
    analyze([], on_compile=said.append)
    assert len(said) == 1
    assert "compiling" in said[0]


def test_a_process_that_finds_another_one_compiling_waits_for_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(compiled, "FOLDER", tmp_path)
    monkeypatch.setattr(compile_ahead.subprocess, "Popen", lambda *given, **_: started.append(given))
    waits = threading.Thread(target=compile_ahead.compile_ahead, args=(None,))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits.start()
        waits.join(0.2)
        assert waits.is_alive()
        compiled.note_complete()
    waits.join(10)
    assert not waits.is_alive()
    assert not started


def test_compiling_ahead_leaves_nothing_to_compile(tmp_path: Path) -> None:
    analysis = analyze(ALL, originators=["10.0.0.1"])
    write_parquet(analysis, tmp_path)
    assert analysis.packets().height == analysis.packet_count
    for kernel in (connections.follow, packets.dissect, packet_columns.finish_packets, endpoints.address_row):
        compiled_here = sum(kernel.stats.cache_misses.values())  # type: ignore[attr-defined]
        assert compiled_here == 0, f"{kernel} was compiled anew"


EVERY_KERNEL = """
import importlib, pathlib
from lab.analysis import compile_ahead
for half in compile_ahead.HALVES.values():
    half()
found = 0
for file in pathlib.Path(compile_ahead.__file__).parent.glob("*.py"):
    module = importlib.import_module("lab.analysis." + file.stem)
    for line in file.read_text().split("\\n@kernel\\ndef ")[1:]:
        kernel = getattr(module, line.partition("(")[0])
        found += 1
        if len(kernel.signatures) != 1 or kernel.stats.cache_misses:
            print(kernel, kernel.signatures, kernel.stats)
print(found > 5)
"""


def test_every_kernel_is_compiled_ahead_for_one_choice_of_types() -> None:
    done = subprocess.run([sys.executable, "-c", EVERY_KERNEL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_machine_code_goes_to_the_first_folder_that_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.touch()
    chosen = compiled.cache_folder(iter([blocked, tmp_path / "user-cache"]))
    assert chosen is not None
    assert chosen.parent == tmp_path / "user-cache"
    assert compiled.cache_folder(iter([blocked])) is None


def test_many_holes_in_a_stream_are_bounded_work(tmp_path: Path) -> None:
    ladder = Ladder()
    ladder.handshake()
    for n in range(400):
        ladder.a("PA", 2 + 2 * n, ack=1, data=b"x")
    path = tmp_path / "x.pcap"
    write_pcap(path, ladder.frames)
    assert analyze([path]).connections["orig_bytes"].to_list() == [400]


def test_batches_and_chunks_join_without_a_seam(tmp_path: Path) -> None:
    ladder = Ladder()
    ladder.handshake()
    ladder.a("PA", 1, ack=1, data=b"x" * 1000)
    path = tmp_path / "x.pcap"
    write_pcap(path, ladder.frames + ladder.frames[-1:] * 40_000)
    analysis = analyze([path])
    assert analysis.packet_count == 40_004
    assert analysis.packets()["index"].to_list() == list(range(40_004))
    assert analysis.connections["capture_duplicates"].to_list() == [40_000]
