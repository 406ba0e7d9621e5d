"""Measures of what was said: how many answers the capture holds, and how many of them differ."""

from __future__ import annotations

import polars as pl

from lab.analysis.contents import read_contents
from lab.verdict.observe import Evidence, Observation


def observe_contents(what: str, at: str, evidence: Evidence) -> Observation:
    """Observe `answers.all`, `answers.distinct` or `answers.repeated`. Raises KeyError for another word."""
    hosts = [host for host in evidence.hosts_named(at) if host in evidence.captures]
    if not hosts:
        return Observation(value=None, evidence=f"{at} was not captured")
    doubts = [d for host in hosts if (d := evidence.capture_doubt(host))]
    contents = read_contents(evidence.folder, hosts)
    if contents.cut:
        doubts.append(f"{contents.cut} packets were cut by the snaplen: their content is not known")
    answers = contents.messages.filter(pl.col("direction") == "resp")["text"]
    counts = {"all": len(answers), "distinct": answers.n_unique(), "repeated": len(answers) - answers.n_unique()}
    files = ", ".join(f"captures/{host}.pcapng" for host in hosts)
    return Observation(
        value=counts[what.removeprefix("answers.")],
        evidence=f"{files}: {counts['all']:,} answers, {counts['distinct']:,} of them different",
        doubt="; ".join(doubts) or None,
    )
