"""The result of a fleet host: what its workers counted, added up, and how far the generator can be trusted."""

from __future__ import annotations

from lab.inside.frozen import as_dict

from .closed_fast import hot_loop_code
from .counters import Counters
from .lateness import Lateness
from .phases import ClosedLoad, Phase
from .plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LATE_NS = 10_000_000
"""A generator whose 99th percentile of lateness exceeds this did not keep its own schedule."""
_ARRIVALS = ("planned", "started", "not_started")
BUSY = 0.95
"""A worker that computed for this share of a load phase had no time to ask for more."""


class PhaseRecord:
    """One phase as the parent saw it."""

    def __init__(self, *, index: int, phase: Phase, before: dict[str, int], begin_realtime_ns: int) -> None:
        self.index = index
        self.phase = phase
        self.before = before
        self.begin_realtime_ns = begin_realtime_ns
        self.after: dict[str, int] = {}
        self.end_realtime_ns = 0
        self.reports: list[dict[str, Any]] = []
        """One line of each worker: begin, end and CPU time of its part."""

    def as_json(self) -> dict[str, Any]:
        lateness = Lateness()
        for report in self.reports:
            bins = {int(key): count for key, count in report["lateness"]["bins"].items()}
            lateness.merge(Lateness(bins, report["lateness"]["most_ns"]))
        changed = {k: v - self.before[k] for k, v in self.after.items() if k not in ("open", "late_drops")}
        shares = [r["cpu_ns"] / max(r["end_ns"] - r["begin_ns"], 1) for r in self.reports]
        row = {
            "index": self.index,
            **as_dict(self.phase),
            "begin_ns": min((r["begin_ns"] for r in self.reports), default=None),
            "end_ns": max((r["end_ns"] for r in self.reports), default=None),
            "begin_realtime_ns": self.begin_realtime_ns,
            "end_realtime_ns": self.end_realtime_ns,
            "counts": {k: v for k, v in changed.items() if v},
            "open_at_end": self.after["open"],
            "lateness": lateness.summary(),
            "cpu_ns": [r["cpu_ns"] for r in self.reports],
            "cpu_share_max": round(max(shares, default=0.0), 4),
        }
        row["generator_limited"] = _limits(self, row)
        return row


def _limits(record: PhaseRecord, row: dict[str, Any]) -> list[str]:
    """Reasons to believe that the generator, not the server, set the pace of a phase; empty: none."""
    reasons = []
    late = row["lateness"]["p99_ns"]
    if late is not None and late > LATE_NS:
        reasons.append(
            f"1 % of the starts were late by {late / 1e6:.1f} ms or more; {LATE_NS / 1e6:g} ms is on schedule"
        )
    if isinstance(record.phase, ClosedLoad) and row["cpu_share_max"] >= BUSY:
        slow = "" if hot_loop_code()[0] else f" (its loop ran in the {hot_loop_code()[1]})"
        reasons.append(
            f"a worker computed for {row['cpu_share_max']} of the phase; below {BUSY} it had time to spare{slow}"
        )
    return reasons


def assemble(
    plan: Plan, anchor: dict[str, int], phases: list[PhaseRecord], counters: Counters, open_at_once: int
) -> dict[str, Any]:
    """Everything but what the workers say of themselves."""
    sums = counters.sums()
    rows = [record.as_json() for record in phases]
    arriving = [row for row in rows if row["phase"] in ("load", "probe", "churn")]
    return {
        "name": plan.name,
        "transport": plan.transport,
        "first_connection": plan.first_connection,
        "connections": plan.connections,
        "close": plan.close,
        "opened": sums["opened"],
        "open_at_once": open_at_once,
        "answered": sums["answered"],
        "messages_sent": sums["sent"],
        "messages_answered": sums["received"],
        "bytes_sent": sums["bytes_sent"],
        "bytes_received": sums["bytes_received"],
        "closed_orderly": sums["closed_orderly"],
        "closed_early": sums["closed_early"],
        "reset_by_peer": sums["reset_by_peer"],
        "timed_out": sums["timed_out"],
        "failed": sums["failed"],
        "left_open": sums["open"],
        "errors": counters.errors(),
        "unanswered": sums["unanswered"],
        "wrong_answers": sums["wrong_answers"],
        "surplus_bytes": sums["surplus_bytes"],
        "arrivals": {name: sum(r["counts"].get(name, 0) for r in arriving) for name in _ARRIVALS},
        "datagrams": {name: sums[name] for name in ("lost", "duplicated", "reordered", "truncated")},
        "latency_records_not_kept": sums["late_drops"],
        "hot_loop": "interpreter: boundaries are logged" if plan.boundaries else hot_loop_code()[1],
        "anchor": anchor,
        "phases": rows,
        "generator_limited": any(row["generator_limited"] for row in rows),
    }
