"""Look into a run's captures: the kinds of connections with an example of each, or one connection as a ladder.

In: a run folder with its tables. Out: plain data, and the same as text. What happened between two captured hosts is
told by `between_vantages.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from lab.captured import Captured, Wanted, problem, tell_kinds, tell_matching, tell_one
from lab.report.run_files import RunFiles


def inspect_run(folder: Path, wanted: Wanted, *, host: str | None) -> tuple[Any, str, list[str]]:
    """Return what is wanted of one vantage as data and as text, and lines about what was done beside.

    Raises ScenarioInvalid for what is not there.
    """
    wanted.check()
    captured = at_vantage(folder, host)
    said: list[str] = []
    data: Any
    if wanted.packet is not None or wanted.packets:
        from lab.inspect_packet import tell_packet, tell_packets

        if wanted.packet is not None:
            return *tell_packet(captured, wanted.packet), said
        return *tell_packets(captured, wanted, f"lab inspect {folder.parent.name} --host {captured.name}"), said
    if wanted.connection is not None:
        data, text, packets = tell_one(captured, wanted)
        if wanted.svg is not None:
            said.append(f"drawing written to {wanted.svg}")
    elif wanted.where is not None:
        rows, text = tell_matching(captured, wanted.where, wanted.limit)
        packets = captured.packets_of(rows["id"].to_list())
        data = rows.to_dicts()
    else:
        name = os.path.relpath(folder) if folder.parent.name == "cells" else folder.parent.name
        kinds, text = tell_kinds(captured, f"lab inspect {name}", wanted.limit)
        return kinds.to_dicts(), text, said
    if wanted.takes_packets:
        from lab.take_packets import take

        said += take(captured, packets, wanted)
    return data, text, said


def at_vantage(folder: Path, host: str | None) -> Captured:
    """Open one host's capture of a run; without `host` the server's, or the first. Raises ScenarioInvalid."""
    table = folder / "tables" / "connections.parquet"
    if (folder / "series.json").exists():
        cells = ", ".join(sorted(path.name for path in (folder / "cells").iterdir()))
        raise problem(str(folder), f"a series of runs, not a run; its runs are {cells}", f"inspect {folder}/cells/NAME")
    if not table.exists():
        raise problem(str(table), "the run has no tables", "make them with `lab report RUN --again`")
    vantages = pl.read_parquet(folder / "tables" / "captures.parquet", columns=["host"])["host"].unique().to_list()
    if host is None:
        server = json.loads((folder / "manifest.json").read_text()).get("server_host")
        host = server if server in vantages else min(vantages, default="")
    if host not in vantages:
        captured = ", ".join(sorted(vantages)) or "none"
        raise problem(str(table), f"no capture of host {host!r}; captured: {captured}")
    ours = pl.col("host") == host

    def connections() -> Iterator[pl.DataFrame]:
        yield pl.scan_parquet(table).filter(ours).collect()

    def packets(condition: pl.Expr) -> Iterator[pl.DataFrame]:
        yield pl.scan_parquet(folder / "tables" / "packets.parquet").filter(ours & condition).collect()

    def first_packets(condition: pl.Expr, most: int) -> tuple[pl.DataFrame, int]:
        chosen = pl.scan_parquet(folder / "tables" / "packets.parquet").filter(ours & condition)
        return chosen.head(most).collect(), int(chosen.select(pl.len()).collect().item())

    def frames() -> pl.DataFrame | None:
        path = folder / "tables" / "frames.parquet"
        return pl.scan_parquet(path).filter(ours).drop("host").collect() if path.exists() else None

    run = RunFiles.read(folder)
    return Captured(
        name=host,
        file=folder / "captures" / f"{host}.pcapng",
        connections=connections,
        packets=packets,
        first_packets=first_packets,
        ends=run.endpoints,
        frames=frames,
        names=run.names,
    )
