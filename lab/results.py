"""From a finished run's captures to its verdict and its reports: analysis -> verdict -> report, in that order.

Goes in: a run folder as the session left it. Comes out: `tables/`, `verdict.json`, `summary.txt`, `report.html` in the
same folder. May be called again on an old run; nothing but the run folder is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from lab.analysis import analyze, write_parquet
from lab.analysis.latency import read_latency, summary_rows
from lab.report.text import summary_text
from lab.verdict import judge


def make_tables(folder: Path, say: Callable[[str], None]) -> None:
    """Analyse every capture of the run; write `tables/*.parquet`, each with the vantage in the column `host`."""
    tables = folder / "tables"
    parts: dict[str, list[pl.LazyFrame]] = {}
    scratch: list[Path] = []
    for capture in sorted((folder / "captures").glob("*.pcapng")):
        host = capture.stem
        part_folder = tables / f".{host}"
        part_folder.mkdir(exist_ok=True)
        analysis = analyze([capture], say=say)
        for error in (c.error for c in analysis.captures if c.error is not None):
            say(f"{capture.name}: {error}")
        for path in write_parquet(analysis, part_folder):
            scratch.append(path)
            parts.setdefault(path.stem, []).append(pl.scan_parquet(path).select(pl.lit(host).alias("host"), pl.all()))
    for name, frames in parts.items():
        pl.concat(frames).sink_parquet(tables / f"{name}.parquet")
    for path in scratch:
        path.unlink()
    for leftover in tables.glob(".*/"):
        leftover.rmdir()
    latency = read_latency(folder)
    latency.write_parquet(tables / "latency.parquet")
    summary_rows(latency).write_parquet(tables / "latency_summary.parquet")


def conclude(folder: Path, timing_s: dict[str, float], say: Callable[[str], None]) -> dict[str, Any]:
    """Make tables, verdict and reports of a run; return the verdict.

    `timing_s` are the session's stages; the analysis adds its own.
    """
    started = time.monotonic()
    make_tables(folder, say)
    timing_s = {**timing_s, "analysis": round(time.monotonic() - started, 3)}
    verdict = judge(folder, timing_s)
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=1, ensure_ascii=False) + "\n")
    (folder / "summary.txt").write_text(summary_text(folder))
    return verdict
