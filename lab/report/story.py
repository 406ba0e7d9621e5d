"""What happened in a run, in sentences: the words that the summary and the HTML report share.

In: `RunFiles`. Out: plain sentences with numbers, for somebody who sees such a run for the first time. A number that
the run did not leave is called `not recorded`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from lab import units
from lab.report.kinds import kinds
from lab.report.run_files import RunFiles

NOT_RECORDED = "not recorded"
LONG_START_S = 3.0
"""A start that is longer is explained."""


def count(value: float | None) -> str:
    return NOT_RECORDED if value is None else units.show_count(value)


def duration(value: float | None) -> str:
    return NOT_RECORDED if value is None else units.show_duration(value)


def plural(value: float | None, noun: str) -> str:
    """`1 worker`, `2 workers`, `not recorded workers` never: a missing number is put after the noun."""
    if value is None:
        return f"{noun}s: {NOT_RECORDED}"
    return f"{units.show_count(value)} {noun}{'' if value == 1 else 's'}"


def headline(run: RunFiles) -> str:
    """Name the run: scenario and title."""
    title = run.manifest.get("title")
    scenario = run.manifest.get("scenario") or run.verdict.get("scenario") or run.folder.parent.name
    return f"{scenario}: {title}" if title else str(scenario)


def verdict_word(run: RunFiles) -> str:
    """`pass`, `fail` or `unknown`; a run without a verdict proves nothing."""
    return str(run.verdict.get("verdict", "unknown"))


def held(run: RunFiles) -> str:
    """Say how many expectations held."""
    if not run.verdict:
        return "No verdict was reached."
    rows = run.verdict.get("expectations", [])
    passed = sum(row.get("verdict") == "pass" for row in rows)
    return f"{passed} of {plural(len(rows), 'expectation')} held."


def identity(run: RunFiles) -> str:
    """Say which run this is."""
    facts = run.manifest.get("facts", {})
    parts = [f"run {run.manifest.get('run', run.folder.name)}", f"engine {run.manifest.get('engine', NOT_RECORDED)}"]
    if facts.get("kernel"):
        parts.append(f"Linux {facts['kernel']}, {plural(facts.get('cpus'), 'CPU')}")
    parts.append(f"seed {run.manifest.get('seed', NOT_RECORDED)}")
    if run.manifest.get("git_revision"):
        parts.append(f"revision {run.manifest['git_revision']}")
    return ", ".join(parts)


def worth(run: RunFiles) -> str | None:
    """Say what limited the run and what its evidence cannot prove; None where it is valid and whole."""
    parts = []
    if run.verdict.get("validity", "valid") != "valid":
        reasons = "; ".join(run.verdict.get("validity_reasons", ()))
        parts.append(f"{run.verdict['validity']}: {reasons}")
    parts += [f"evidence lost: {text}" for text in run.verdict.get("lost_evidence", ())]
    return ". ".join(parts) or None


def happened(run: RunFiles) -> list[str]:
    """Tell what the programs did and measured."""
    if run.evidence is None:
        return ["The run did not get far enough to leave a manifest and a topology."]
    sentences = list(_played(run)) if run.manifest.get("script") else []
    if run.evidence.fleets:
        sentences += [_opened(run), _exchanged(run)] if not _is_udp(run) else [_datagrams(run)]
        sentences += _latency(run)
    if run.has_server:
        sentences.append(_processor(run))
    sentences += _memory(run)
    return sentences


def _played(run: RunFiles) -> Iterator[str]:
    """Tell how the script went: which steps were made, in their order, and the first that was not as written."""
    columns = ["index", "host", "do", "label", "socket", "bytes", "frames", "outcome", "as_written", "error"]
    steps = run.table("steps", columns)
    if steps is None:
        return
    rows = steps.sort("index").to_dicts()
    made = [row for row in rows if row["outcome"] != "not made"]
    yield f"The script: {len(made)} of {plural(len(rows), 'step')} made, in this order:"
    yield ", ".join(_step(row) for row in made) + "."
    other = next((row for row in made if not row["as_written"]), None)
    if other is not None:
        yield f"Not as written: step {other['index'] + 1}, {_step(other)}: {other['error'] or other['outcome']}."


def _step(row: dict[str, Any]) -> str:
    """`client send 5 B`, `server recv: ECONNRESET`, `bridge await-limit 1,000 frames`"""
    size = f" {units.show_bytes(row['bytes'])}" if row["bytes"] else ""
    if row.get("frames"):
        size = f" {plural(row['frames'], 'frame')}"
    outcome = "" if row["outcome"] in ("ok", "begun") else f": {row['outcome']}"
    return f"{row['host'] or 'fleet'} {row['do']}{size}{outcome}"


def _is_udp(run: RunFiles) -> bool:
    return run.server("model") is not None and str(run.server("model")).replace("-", "_").startswith("udp")


def _opened(run: RunFiles) -> str:
    assert run.evidence is not None
    asked = run.manifest.get("fleet", {}).get("connections")
    opened = count(run.observed("fleet.opened")) + (f" of {count(asked)}" if asked is not None else "")
    server = run.manifest.get("server", {})
    kind = f"{server.get('model', NOT_RECORDED)}, port {server.get('port', NOT_RECORDED)}"
    return (
        f"{plural(len(run.evidence.fleets), 'fleet host')} opened {opened} connections to "
        f"{run.manifest['server_host']} ({kind}); open at once: {count(run.observed('fleet.open_at_once'))}; "
        f"errors: {count(run.observed('fleet.errors'))}."
    )


def _exchanged(run: RunFiles) -> str:
    return _told(
        run,
        ("connections answered", "fleet.answered"),
        ("messages sent", "fleet.sent"),
        ("whole answers received", "fleet.received"),
        ("wrong ones", "fleet.wrong_answers"),
        ("connections closed in order", "fleet.closed"),
    )


def _datagrams(run: RunFiles) -> str:
    return _told(
        run,
        ("datagrams sent", "fleet.sent"),
        ("answered", "fleet.received"),
        ("never answered", "fleet.lost"),
        ("answered more than once", "fleet.duplicated"),
        ("out of order", "fleet.reordered"),
    )


def _told(run: RunFiles, *numbers: tuple[str, str]) -> str:
    """One sentence of measures: `Messages sent: 10,000; wrong answers: 0.`"""
    return _sentence("; ".join(f"{words}: {count(run.observed(what))}" for words, what in numbers))


_SERIES = (
    ("connect", "To connect"),
    ("service", "To answer, from sending (service time)"),
    ("response", "To answer, from when it was due (response time)"),
)


def _latency(run: RunFiles) -> Iterator[str]:
    told: list[tuple[float | None, ...]] = []
    for number, (series, span) in enumerate(_SERIES):
        times = tuple(run.observed(f"latency.{series}.{which}") for which in ("p50", "p99", "max"))
        if times[0] is None or times in told:
            continue  # a closed model sends when it is due: its response time is its service time
        told.append(times)
        p50, p99, most = times
        half, most_of_them = (" (half took no longer)", " (99 of 100)") if number == 0 else ("", "")
        yield f"{span}: p50 {duration(p50)}{half}, p99 {duration(p99)}{most_of_them}, max {duration(most)}."


def _processor(run: RunFiles) -> str:
    text = f"The server used {duration(run.observed('server.cpu'))} of processor time"
    each = run.observed("server.cpu_per_message")
    text += (
        f", {duration(each)} for each of {plural(run.observed('server.messages'), 'message')}"
        if each is not None
        else ""
    )
    peak = run.server("usage", "rss_peak_bytes")
    return text + (f", and {units.show_bytes(peak)} of memory at most." if peak is not None else ".")


MANY_SOCKETS = 50_000
"""From so many on, the kernel's memory for them stands out from what else changes on a machine, and from slab that an
earlier run has freed and this one uses again."""


def _memory(run: RunFiles) -> Iterator[str]:
    """Tell what the kernel's memory came to while most connections were open; nothing where they were few."""
    path = run.folder / "tables" / "memory.parquet"
    if not path.exists():
        return
    rows = pl.read_parquet(path).filter(pl.col("kernel_bytes_per_pair").is_not_null())
    if rows.is_empty() or rows["sockets"].max() < MANY_SOCKETS:  # type: ignore[operator]
        return
    # Clients are connected before the server has accepted: of the rows with all sockets, the one with most objects.
    full = rows.filter(pl.col("sockets") >= pl.col("sockets").max() * 0.99).sort("slab_bytes").row(-1, named=True)
    yield (
        f"The kernel's objects grew by {units.show_bytes(full['slab_growth_bytes'])} with {count(full['sockets'])} "
        f"sockets at the server, {full['kernel_bytes_per_pair'] / 1024:.1f} KiB for both ends of a connection; all "
        f"programs of the machine held {units.show_bytes(full['user_bytes'])} then."
    )


def captured(run: RunFiles) -> list[str]:
    """Tell what the captures show, host by host, the server's first."""
    if not run.vantages:
        return ["No host was captured."]
    sentences = []
    for host in run.vantages:
        recorded = run.verdict.get("capture", {}).get(host) or {}
        written, lost = recorded.get("written"), recorded.get("dropped")
        sentence = f"{host}: {plural(written, 'packet')} in the file; lost by the recorder: {count(lost)}."
        reconciled = run.verdict.get("reconciliation", {}).get(host, {}).get("sentence")
        sentences.append(f"{sentence} {_sentence(reconciled)}" if reconciled else sentence)
        sentences += _connections(run, host)
        sentences += _frames(run, host)
        sentences += _datagrams_to(run, host)
    return sentences


_COUNTED = ("retransmissions", "zero_windows")
_TOLD = [
    *("handshake", "handshake_reason", "teardown", "reset"),
    *(f"{s}_{n}" for s in ("orig", "resp") for n in _COUNTED),
]


def _connections(run: RunFiles, host: str) -> Iterator[str]:
    table = run.table("connections", _TOLD, host)
    if table is None:
        return
    if table.is_empty():
        flows = run.table("flows", ["id"], host)
        yield f"No TCP connection; {plural(None if flows is None else flows.height, 'flow')} of other packets."
        return
    yield f"{plural(table.height, 'connection')}; handshakes: {kinds(table, 'handshake', 'handshake_reason')}."
    yield f"Teardowns: {kinds(table, 'teardown')}."
    again, zero = _both_ways(table, "retransmissions"), _both_ways(table, "zero_windows")
    yield (
        f"Resets: {kinds(table, 'reset')}. Segments sent again (retransmissions): {count(again)}; "
        f"windows closed by a slow reader: {count(zero)}."
    )


def _frames(run: RunFiles, host: str) -> Iterator[str]:
    """Tell of what is below connections and flows: ARP, broadcasts, fragments; nothing where there was none of it."""
    if not (run.folder / "tables" / "frames.parquet").exists():
        return  # the captures are too long for it
    requests, replies, everybody, parts = (
        run.observed(what, host) for what in ("arp.requests", "arp.replies", "frames.broadcast", "fragments")
    )
    if requests or replies or everybody:
        yield f"ARP: {plural(requests, 'request')}, replies: {count(replies)}; frames to everybody: {count(everybody)}."
    if parts:
        yield f"IP fragments: {count(parts)}."


def _datagrams_to(run: RunFiles, host: str) -> Iterator[str]:
    """Tell what became of the numbered datagrams on their way to a host, if there were any."""
    if not (run.folder / "tables" / "datagram_points.parquet").exists():
        return  # a run from before there was this table
    table = run.table("datagram_points", ["receiver"])
    if table is None or table.filter(pl.col("receiver") == host).is_empty():
        return
    names = ("sent", "lost_on_wire", "lost_at_receiver", "duplicated", "reordered", "truncated", "jitter.receiver")
    sent, wire, kernel, doubled, late, cut, jitter = (run.observed(f"datagrams.{name}", host) for name in names)
    yield (
        f"Numbered datagrams to {host}: {count(sent)} sent; lost on the wire: {count(wire)}; lost in its kernel: "
        f"{count(kernel)}; doubled: {count(doubled)}; reordered: {count(late)}; cut by a buffer: {count(cut)}; jitter: "
        f"{duration(jitter)}."
    )


def _both_ways(table: pl.DataFrame, name: str) -> int | None:
    """Sum a number over both directions; None where the table does not have it."""
    columns = [f"{side}_{name}" for side in ("orig", "resp")]
    return sum(int(table[column].sum()) for column in columns) if set(columns) <= set(table.columns) else None


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def stages(run: RunFiles) -> str:
    """Tell where the time went."""
    timing = run.verdict.get("timing_s") or {}
    if not timing:
        return f"Times of the stages: {NOT_RECORDED}."
    told = ", ".join(f"{name} {units.show_duration(seconds * 1e9)}" for name, seconds in timing.items())
    total = run.verdict.get("elapsed_s") or sum(timing.values())  # stages side by side take less than their sum
    asked = run.manifest.get("requested_s")
    beside = " (some side by side)" if sum(timing.values()) > total else ""
    text = f"{units.show_duration(total * 1e9)} in all: {told}{beside}."
    if timing.get("start", 0.0) >= LONG_START_S:
        text += " The start is loading, looking at this machine, and building what its engine lacks."
    if not asked:  # a script asks for calls, not for time
        return text
    beyond = units.show_duration(max(total - asked, 0) * 1e9)
    return f"{text} The scenario asked for {units.show_duration(asked * 1e9)} of traffic: {beyond} on top of it."
