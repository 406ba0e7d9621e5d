"""A scenario's expectations over what a run left: pass, fail or unknown, each with its evidence.

Goes in: a run folder (manifest, programs' results, kernel counters, tables). Comes out: `Verdict`, as stored in
`verdict.json`. It reads files alone; what was expected stands in the manifest, resolved.

The rules:

- An expectation whose evidence was lost is `unknown`, never `pass`: packets the recorder dropped, a capture that ended
  at its size limit, results that a program did not deliver. So is one whose check crashed.
- The verdict is `fail` if any expectation failed, else `unknown` if any is unknown, else `pass`.
- An arrival the generator could not start, a capture that lost packets, or kernel counters that disagree with the
  capture make a passing run `unknown` too, even where no expectation asks about them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from lab import measures, units
from lab.verdict.observe import Evidence, Observation, observe, query
from lab.verdict.reconcile import reconcile
from lab.verdict.validity import validity


def judge(folder: Path, timing_s: dict[str, float]) -> dict[str, Any]:
    """Judge the run in `folder`; return the content of `verdict.json`."""
    evidence = Evidence.read(folder)
    manifest = evidence.manifest
    rows = [_judge_one(expectation, evidence) for expectation in manifest["expectations"]]
    captures = {
        host: {key: capture.get(key) for key in ("received", "dropped", "written")}
        for host, capture in evidence.captures.items()
    }
    reconciliation = {host: reconcile(evidence, host) for host in evidence.captures}
    lost = _lost_evidence(evidence, reconciliation)
    verdicts = {row["verdict"] for row in rows} | ({"unknown"} if lost else set())
    kind, reasons = validity(evidence)
    return {
        "scenario": manifest["scenario"],
        "run": manifest["run"],
        "engine": manifest["engine"],
        "verdict": "fail" if "fail" in verdicts else "unknown" if "unknown" in verdicts else "pass",
        "expectations": rows,
        "lost_evidence": lost,
        "capture": captures,
        "reconciliation": reconciliation,
        "validity": kind,
        "validity_reasons": reasons,
        "requested_s": manifest["requested_s"],
        "timing_s": timing_s,
    }


def _judge_one(expectation: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    row: dict[str, Any] = {
        "what": expectation["what"],
        "at": expectation["at"],
        "expected": _expected_text(expectation),
        "unit": expectation["unit"],
        "because": expectation["because"],
    }
    try:
        if expectation["query"] is not None:
            seen = query(expectation["query"], evidence)
        else:
            seen = observe(expectation["what"], expectation["at"], evidence)
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        # A check that crashes proves nothing, neither way: it is said, and the expectation stays open.
        text = f"the check itself failed: {type(error).__name__}: {error}"
        return {**row, "observed": None, "verdict": "unknown", "evidence": text}
    return {**row, **_compare(expectation, seen)}


def _compare(expectation: dict[str, Any], seen: Observation) -> dict[str, Any]:
    if seen.value is None or seen.doubt:
        text = f"{seen.evidence}; {seen.doubt}" if seen.doubt else seen.evidence
        return {"observed": seen.value, "verdict": "unknown", "evidence": text}
    holds = [
        seen.value == expectation["equal"] if expectation["equal"] is not None else True,
        seen.value >= expectation["at_least"] if expectation["at_least"] is not None else True,
        seen.value <= expectation["at_most"] if expectation["at_most"] is not None else True,
    ]
    return {"observed": seen.value, "verdict": "pass" if all(holds) else "fail", "evidence": seen.evidence}


def _expected_text(expectation: dict[str, Any]) -> str:
    signs = {"equal": "=", "at_least": ">=", "at_most": "<="}
    return " and ".join(
        f"{sign} {units.show_value(expectation[key], expectation['unit'])}"
        for key, sign in signs.items()
        if expectation[key] is not None
    )


def _lost_evidence(evidence: Evidence, reconciliation: dict[str, dict[str, Any]]) -> list[str]:
    """Say what this run cannot prove because evidence was lost; empty for a whole run."""
    lost = []
    for host, capture in evidence.captures.items():
        if doubt := evidence.capture_doubt(host):
            lost.append(f"{host}: {doubt}")
        elif not capture:
            lost.append(f"{host}: the capture sidecar left no result")
        if reconciliation[host]["difference"]:
            lost.append(f"{host}: {reconciliation[host]['sentence']}")
    not_started = evidence.fleet_sum("arrivals.not_started")
    if not_started:
        lost.append(f"the generator could not start {units.show_count(not_started)} planned arrivals")
    return lost


def known_measures() -> list[dict[str, str]]:
    """Return every measure as plain data, for `lab show --measures`."""
    return [{"name": m.name, "unit": m.unit, "source": m.source, "meaning": m.meaning} for m in measures.MEASURES]
