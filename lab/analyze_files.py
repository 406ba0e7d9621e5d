"""Explain any capture file: what was recorded, the kinds of connections with an example of each, the flows.

In: pcap or pcapng files of any tool, each analysed by itself. Out: text, or per file the JSON object `{"file",
"packets", "connections", "flows"}`, a connection and a flow each a row of its table (`lab/analysis/tables.py`). A file
that is broken is told up to there; its error comes back to the caller, who says it last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from lab import units
from lab.analysis import Analysis, analyze, write_parquet
from lab.analysis.words import ICMP, ICMP6, UDP
from lab.captured import Captured, Wanted, as_json, as_text, problem, tell_kinds, tell_matching, tell_one
from lab.errors import CaptureFileBroken, NotACapture
from lab.report.steps import Endpoint

PROTOCOLS = {ICMP: "ICMP", UDP: "UDP", ICMP6: "ICMPv6"}
LINKS = {0: "null", 1: "Ethernet", 101: "raw IP", 108: "loopback", 113: "Linux cooked", 276: "Linux cooked 2"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one file gave."""

    text: str
    """For people; empty where JSON was wanted, or nothing could be read."""
    json: Callable[[], Iterator[str]]
    """The same for programs: pieces of one JSON value."""
    error: CaptureFileBroken | None
    """Why the file could not be read to its end."""
    said: list[str]
    """What was done beside: files written."""


def check_files(files: Sequence[Path], wanted: Wanted) -> None:
    """Raise ScenarioInvalid for options that contradict one another, and for every file that is not there, at once."""
    wanted.check()
    if len(files) > 1 and (wanted.connection is not None or wanted.packet is not None or wanted.takes_packets):
        options = "--connection, --packet, --pcap, --scapy, --wireshark"
        raise problem(options, f"look into one file, got {len(files)}", "name one file")
    missing = [problem(str(file), "no such file") for file in files if not file.is_file()]
    if missing:
        raise type(missing[0])(*(one for error in missing for one in error.problems))


def analyze_files(
    files: Sequence[Path], wanted: Wanted, *, parquet: Path | None, say: Callable[[str], None]
) -> Iterator[Findings]:
    """Yield the findings of each file in turn.

    `parquet`: a folder for the tables; with several files, for a folder a file. `say` gets what takes long.
    """
    folders: set[Path] = set()
    for file in files:
        analysis = analyze([file], on_compile=say)
        error = analysis.errors[0] if analysis.errors else None
        if isinstance(error, NotACapture):
            yield Findings(text="", json=lambda: iter(()), error=error, said=[])
            continue
        said = []
        if parquet is not None:
            folder = _folder(parquet, file, folders) if len(files) > 1 else parquet
            write_parquet(analysis, folder)
            said.append(f"tables written to {folder}")
        yield _found(file, analysis, wanted, error, said)


def _folder(parent: Path, file: Path, taken: set[Path]) -> Path:
    """Choose a file's folder by its name; files of one name get numbers."""
    folder, number = parent / file.stem, 2
    while folder in taken:
        folder, number = parent / f"{file.stem}-{number}", number + 1
    taken.add(folder)
    return folder


def _found(
    file: Path, analysis: Analysis, wanted: Wanted, error: CaptureFileBroken | None, said: list[str]
) -> Findings:
    captured = _captured(file, analysis)
    if wanted.packet is not None or wanted.packets:
        from lab.inspect_packet import tell_packet, tell_packets

        told: Any
        if wanted.packet is not None:
            told, text = tell_packet(captured, wanted.packet)
        else:
            told, text = tell_packets(captured, wanted, f"lab analyze {file}")
        return Findings(text=text, json=lambda: iter([json.dumps(told, indent=1)]), error=error, said=said)
    if wanted.connection is not None:
        data, text, packets = tell_one(captured, wanted)
        if wanted.svg is not None:
            said.append(f"drawing written to {wanted.svg}")
        if wanted.takes_packets:
            from lab.take_packets import take

            said += take(captured, packets, wanted)
        return Findings(text=text, json=lambda: iter([json.dumps(data, indent=1)]), error=error, said=said)
    if wanted.where is not None:
        rows, text = tell_matching(captured, wanted.where, wanted.limit)
        if wanted.takes_packets:
            from lab.take_packets import take

            said += take(captured, captured.packets_of(rows["id"].to_list()), wanted)
        parts = lambda: _json(file, analysis, iter([rows]))  # noqa: E731
        return Findings(text=text, json=parts, error=error, said=said)
    _, kinds = tell_kinds(captured, f"lab analyze {file}", wanted.limit)
    text = "\n".join([*_recorded(file, analysis), kinds, *_flows(analysis.flows)])
    return Findings(text=text, json=lambda: _json(file, analysis, analysis.connection_chunks()), error=error, said=said)


def _captured(file: Path, analysis: Analysis) -> Captured:
    """The analysis as something to look into."""

    def packets(condition: pl.Expr) -> Iterator[pl.DataFrame]:
        for chunk in analysis.packet_chunks():
            yield chunk.filter(condition)

    def first_packets(condition: pl.Expr, most: int) -> tuple[pl.DataFrame, int]:
        kept: list[pl.DataFrame] = []
        count = 0
        for part in packets(condition):
            kept.append(part.head(max(most - count, 0)))
            count += part.height
        return pl.concat(kept), count

    return Captured(
        name=str(file),
        file=file,
        connections=analysis.connection_chunks,
        packets=packets,
        first_packets=first_packets,
        ends=_ends,
        frames=lambda: analysis.frames,
    )


def _ends(row: Mapping[str, Any]) -> tuple[Endpoint, Endpoint]:
    """Both ends of a connection; a file does not tell names."""
    return (
        Endpoint(host="", address=row["orig_addr"], port=row["orig_port"]),
        Endpoint(host="", address=row["resp_addr"], port=row["resp_port"]),
    )


def _json(file: Path, analysis: Analysis, connections: Iterator[pl.DataFrame]) -> Iterator[str]:
    """The file's JSON object."""
    yield f'{{"file": {json.dumps(str(file))}, "packets": {analysis.packet_count}, "connections": '
    yield from as_json(connections)
    yield ', "flows": '
    yield from as_json(iter([analysis.flows]))
    yield "}"


def _recorded(file: Path, analysis: Analysis) -> Iterator[str]:
    """Say what the file is: packets, time, interfaces, and whether packets were lost."""
    captures = analysis.captures.to_dicts()
    firsts = [row["first_ns"] for row in captures if row["first_ns"] is not None]
    span = ""
    if firsts:
        last = max(row["last_ns"] for row in captures if row["last_ns"] is not None)
        began = datetime.fromtimestamp(min(firsts) // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        span = f" in {units.show_duration(last - min(firsts))}, the first at {began}"
    yield f"{file}: {units.show_count(analysis.packet_count)} packets{span}"
    for row in captures:
        if row["link_type"] or not row["error"]:
            yield f"  {_interface(row)}"


def _interface(row: Mapping[str, Any]) -> str:
    """One interface in words."""
    parts = [LINKS.get(row["link_type"], f"link type {row['link_type']}")]
    if row["snaplen"]:
        parts.append(f"at most {units.show_bytes(row['snaplen'])} a packet")
    if row["filter"]:
        parts.append(f"filter {row['filter']!r}")
    if row["dropped"] is None:
        loss = "the file does not tell whether packets were lost"
    elif row["dropped"]:
        loss = f"the recorder lost {units.show_count(row['dropped'])} packets: what is missing here may have happened"
    else:
        loss = "the recorder lost no packet"
    name = row["interface"] or f"interface {row['capture']}"
    return f"{name} ({', '.join(parts)}): {units.show_count(row['packets'])} packets; {loss}"


def _flows(flows: pl.DataFrame) -> Iterator[str]:
    """Count the flows by protocol and by what came back."""
    if flows.is_empty():
        return
    outcome = (
        pl.when(pl.col("icmp_errors") > 0)
        .then(pl.lit("reported unreachable"))
        .when(pl.col("first_answer_ns").is_not_null())
        .then(pl.lit("answered"))
        .otherwise(pl.lit("one way"))
    )
    name = pl.col("protocol").cast(pl.Int64).replace_strict(PROTOCOLS, default=None, return_dtype=pl.String)
    counted = (
        flows.group_by(
            pl.coalesce(name, pl.format("protocol {}", "protocol")).alias("protocol"), outcome.alias("outcome")
        )
        .agg(
            pl.len().alias("flows"),
            (pl.col("orig_packets") + pl.col("resp_packets")).sum().alias("packets"),
            (pl.col("orig_bytes") + pl.col("resp_bytes")).sum().alias("bytes"),
            pl.col("id").min().alias("example"),
        )
        .sort(["flows", "example"], descending=[True, False])
    )
    yield f"{units.show_count(flows.height)} flow{'s' if flows.height > 1 else ''}"
    yield as_text(counted)
