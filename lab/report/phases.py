"""Phase by phase: how long the fleet was at it, what came of it, at which rate, and what one of it cost each side.

In: a run's `usage` table and what its fleets counted. Out: one `PhaseRow` a phase, in order. The summary and the HTML
report show the same rows. A phase in which nothing is counted (`hold`) has no rate; what no program told is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from lab import units
from lab.report.run_files import RunFiles

COUNTED = {"connect": ("opened", "connections opened"), "drain": ("closed_orderly", "connections closed")}
"""What a phase is counted by: the fleet's counter, and its name for readers. All other phases ask for answers."""
ANSWERS = ("received", "answers")

HEADINGS = ("Phase by phase", "took", "what came of it", "a second", "server CPU each", "fleet CPU each")


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """One phase of a run."""

    phase: str
    took_ns: int
    """From its barrier to its end; of several fleet hosts the longest."""
    count: int
    what: str
    """What `count` counts."""
    server_cpu_ns: int | None
    """Processor time of the server's processes meanwhile; None: it was not asked."""
    fleet_cpu_ns: int
    """The same of all fleet hosts together."""

    def cells(self) -> tuple[str, ...]:
        """The row in words, under `HEADINGS`."""
        took = units.show_duration(self.took_ns)
        if not self.count:
            return (self.phase, took, "", "", "", "")
        each = [None if cpu is None else cpu / self.count for cpu in (self.server_cpu_ns, self.fleet_cpu_ns)]
        return (
            self.phase,
            took,
            f"{units.show_count(self.count)} {self.what}",
            units.show_count(round(self.count / self.took_ns * 1e9)) if self.took_ns else "",
            *("" if cpu is None else units.show_duration(cpu) for cpu in each),
        )


def phases(run: RunFiles) -> list[PhaseRow]:
    """Return the rows of a run; none where no fleet told of any, or there is no `usage` table."""
    if run.evidence is None or not any(fleet.get("phases") for fleet in run.evidence.fleets.values()):
        return []
    usage = run.table("usage", ["index", "role", "phase", "fleet_ns", "cpu_ns"])
    return [] if usage is None else list(_rows(run, usage))


def _rows(run: RunFiles, usage: pl.DataFrame) -> Iterator[PhaseRow]:
    assert run.evidence is not None
    told = [phase for fleet in run.evidence.fleets.values() for phase in fleet.get("phases", [])]
    for (index,), rows in usage.sort("index", maintain_order=True).group_by(["index"], maintain_order=True):
        fleet, server = (rows.filter(pl.col("role") == role) for role in ("fleet", "server"))
        if fleet.is_empty():
            continue
        phase = str(fleet["phase"][0])
        counter, what = COUNTED.get(phase, ANSWERS)
        yield PhaseRow(
            phase=phase,
            took_ns=int(fleet["fleet_ns"].max() or 0),  # type: ignore[arg-type]
            count=sum(int(row["counts"].get(counter, 0)) for row in told if row["index"] == index),
            what=what,
            server_cpu_ns=int(server["cpu_ns"].sum()) if server.height else None,
            fleet_cpu_ns=int(fleet["cpu_ns"].sum()),
        )
