"""From a finished run's captures to its verdict and its reports: analysis -> verdict -> report, in that order.

Goes in: a run folder as the session left it. Comes out: `tables/`, `verdict.json`, `summary.txt`, `report.html` in the
same folder. May be called again on an old run; nothing but the run folder is read.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis import KEPT_PACKETS, Analysis, analyze, write_parquet, write_vantages
from lab.analysis.boundary_tables import boundary_tables
from lab.analysis.capture_writer import InterfaceDescription, PcapngWriter
from lab.analysis.datagram_points import datagram_tables
from lab.analysis.latency import export_hdr, read_latency, summarise
from lab.analysis.memory_tables import memory_tables
from lab.analysis.parquet import join_files
from lab.analysis.ring_blocks import convert_nothing, left_here, make_capture
from lab.analysis.script_tables import script_tables
from lab.analysis.usage_tables import usage_tables
from lab.report.comparison import series_text
from lab.report.html import write_report
from lab.report.series_html import write_series_report
from lab.report.text import summary_text
from lab.verdict import judge
from lab.verdict.series import judge_series
from lab.whole_file import write_json_whole, write_whole


def make_captures(folder: Path) -> None:
    """Make `captures/<host>.pcapng` of blocks that sidecars left; nothing to do where they left capture files."""
    for host in sorted((folder / "hosts").glob("*/")):
        if left_here(host):
            make_capture(host, folder / "captures" / f"{host.name}.pcapng")


def make_tables(folder: Path, say: Callable[[str], None]) -> float:
    """Analyse every capture and every latency log of the run; write `tables/*.parquet`. Return the seconds it took.

    Captures and latency logs are read side by side: compiled loops and polars wait for no interpreter lock.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(2, thread_name_prefix="tables") as pool:
        for job in [pool.submit(_capture_tables, folder, say), pool.submit(_latency_tables, folder)]:
            job.result()
    made = script_tables(folder) | usage_tables(folder) | memory_tables(folder) | boundary_tables(folder)
    made |= datagram_tables(folder)
    for name, frame in made.items():
        frame.write_parquet(folder / "tables" / f"{name}.parquet")
    return round(time.monotonic() - started, 3)


def _capture_tables(folder: Path, say: Callable[[str], None]) -> None:
    """Write what the captures show; rows of all vantages stand in one table, the vantage in the column `host`."""
    make_captures(folder)
    tables = folder / "tables"
    parts: dict[str, list[Path]] = {}
    number = 0
    for number, analyses in enumerate(_analyses(sorted((folder / "captures").glob("*.pcapng")), say)):
        part_folder = tables / f".part-{number}"
        write_vantages(analyses, part_folder)
        analyses.clear()  # before the next ones take memory
        for path in part_folder.glob("*.parquet"):
            parts.setdefault(path.name, []).append(path)
    for name, paths in parts.items():
        if len(paths) <= number:  # `frames`, which long captures have not: half a table would say what is not so
            for path in paths:
                path.unlink()
        else:
            join_files(paths, tables / name)
    for part_folder in tables.glob(".part-*/"):
        part_folder.rmdir()


def _analyses(captures: list[Path], say: Callable[[str], None]) -> Iterator[dict[str, Analysis]]:
    """Analyse captures, each by itself; yield them, by host, as many at once as memory holds the packets of.

    Nearly always that is all of them, and every table is written once.
    """
    together: dict[str, Analysis] = {}
    for capture in captures:
        analysis = analyze([capture], on_compile=say)
        for error in analysis.errors:
            say(f"{capture.name}: {error}")
        packets = sum(other.packet_count for other in together.values()) + analysis.packet_count
        if together and packets > KEPT_PACKETS:
            yield together
            together = {}
        together[capture.stem] = analysis
    if together:
        yield together


def _latency_tables(folder: Path) -> None:
    """Write `latency` (one row a message or connect), `latency_summary` (a row a series) and `latency_hdr`."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if "fleet" not in manifest:
        return
    phases = [phase["phase"] for phase in manifest["fleet"]["phases"]]
    logs = [
        read_latency(sorted(host.glob("latency-*.bin")), host=host.name, phases=phases)
        for host in sorted((folder / "hosts").iterdir())
    ]
    latency = pl.concat(logs)
    latency.write_parquet(folder / "tables" / "latency.parquet")
    export_hdr(latency).write_parquet(folder / "tables" / "latency_hdr.parquet")
    series = (
        pl.when(pl.col("kind") == "message").then(pl.col("time")).when(pl.col("time") == "service").then(pl.col("kind"))
    )
    summary = summarise(latency, by=["kind"]).with_columns(pl.col("kind").cast(pl.String))
    summary = summary.with_columns(series.alias("series")).filter(pl.col("series").is_not_null())
    renamed = {"min_ns": "min", "p50_ns": "p50", "p90_ns": "p90", "p99_ns": "p99", "p99_9_ns": "p99.9", "max_ns": "max"}
    summary.select("series", "count", "unanswered", *renamed).rename(renamed).write_parquet(
        folder / "tables" / "latency_summary.parquet"
    )


def conclude_series(folder: Path, timing_s: dict[str, float]) -> dict[str, Any]:
    """Judge a series from its cells' runs; leave `verdict.json`, `summary.txt`, `report.html`; return the verdict."""
    verdict = judge_series(folder, timing_s)
    write_json_whole(folder / "verdict.json", verdict)
    write_whole(folder / "summary.txt", series_text(folder))
    write_series_report(folder)
    return verdict


def warm_up(say: Callable[[str], None] = lambda _line: None) -> None:
    """Load the compiled code (or compile it, once on a machine, and say so) by analysing a capture of one packet.

    And what makes captures of blocks, by making one of none.
    """
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "one.pcapng"
        with PcapngWriter(capture, InterfaceDescription(name="none")) as writer:
            writer.packet(0, bytes(64))
        analysis = analyze([capture], on_compile=say)
        write_parquet(analysis, Path(folder))
    convert_nothing()


def conclude(folder: Path, timing_s: dict[str, float], say: Callable[[str], None]) -> dict[str, Any]:
    """Make tables, verdict and reports of a run; return the verdict.

    `timing_s` are the session's stages; the analysis adds its own.
    """
    return judge_and_report(folder, {**timing_s, "analysis": make_tables(folder, say)})


def judge_and_report(folder: Path, timing_s: dict[str, float], *, began: float | None = None) -> dict[str, Any]:
    """Make verdict and reports of a run whose tables are made; return the verdict.

    `began` (CLOCK_MONOTONIC) tells how long all of it took; stages side by side do not add up to that.
    """
    verdict = judge(folder, timing_s)
    if began is not None:
        verdict["elapsed_s"] = round(time.monotonic() - began, 3)
    write_json_whole(folder / "verdict.json", verdict)
    write_whole(folder / "summary.txt", summary_text(folder))
    write_report(folder)
    return verdict
