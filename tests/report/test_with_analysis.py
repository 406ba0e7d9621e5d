"""The report reads what the analysis writes: same names, same words, and a capture file told from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap
from scripts import EXCHANGE, FIN3, HANDSHAKE, connection_row, rows, write_run

from lab.analysis import analyze, words, write_parquet
from lab.analysis.latency import SCHEMA as LATENCY
from lab.analysis.tables import TABLES
from lab.report.charts import _HANDSHAKE
from lab.report.kinds import KINDS
from lab.report.run_files import RunFiles
from lab.report.story import _TOLD
from lab.report.text import summary_text


def columns(table: str) -> set[str]:
    return {column.name for column in TABLES[table]}


def test_columns_that_the_report_reads_are_written():
    assert {*connection_row(0)} - {"host"} <= columns("connections")
    assert {*_TOLD, *(column for column, _, _ in _HANDSHAKE)} <= columns("connections")
    assert {*rows(HANDSHAKE)[0]} <= columns("packets")
    assert {"kind", "service_ns", "response_ns"} <= set(LATENCY)


@pytest.mark.parametrize("group", [words.HANDSHAKES, words.REASONS, words.TEARDOWNS, words.RESETS])
def test_every_word_of_the_analysis_has_a_gloss(group: tuple[str, ...]):
    assert {word for word in group if word} <= set(KINDS)


def test_capture_file_becomes_a_ladder_with_states_and_options(tmp_path: Path):
    run = write_run(tmp_path, connections=1)
    frames = []
    for row in rows(HANDSHAKE + EXCHANGE + FIN3):
        options = [("MSS", 1460), ("WScale", 7)] if row["tcp_flags"] & 2 else []
        segment = TCP(
            sport=row["src_port"],
            dport=row["dst_port"],
            flags=row["tcp_flags"],
            seq=row["seq"],
            ack=row["ack"],
            window=row["window"],
            options=options,
        )
        address = IP(src=row["src_addr"], dst=row["dst_addr"])
        frame = (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / address / segment / (b"x" * row["payload_bytes"])
        )
        frame.time = row["t_ns"] / 1e9
        frames.append(frame)
    capture = tmp_path / "server.pcap"
    wrpcap(str(capture), frames)
    write_parquet(analyze([capture]), tmp_path / "tables")
    for name in ("packets", "connections", "flows"):
        table = pl.read_parquet(tmp_path / "tables" / f"{name}.parquet")
        table.select(pl.lit("server").alias("host"), pl.all()).write_parquet(run / "tables" / f"{name}.parquet")

    text = summary_text(run)
    assert "1 connection; handshakes: 1 complete (SYN, SYN-ACK, ACK)." in text
    assert "Teardowns: 1 fin3 (FIN, FIN with the ACK, ACK)." in text
    ladder = [line.split() for line in text[text.index("  time ms") :].splitlines()[2:16]]
    states = [{word for word in line if word.isupper() and word[0].isalpha()} & STATES for line in ladder]
    assert [found for found in states if found] == [
        {"CLOSED", "LISTEN"},
        {"SYN-SENT", "SYN-RECEIVED"},
        {"ESTABLISHED"},
        {"ESTABLISHED"},
        {"FIN-WAIT-1", "CLOSE-WAIT"},
        {"TIME-WAIT", "LAST-ACK"},
        {"CLOSED"},
    ]
    assert text.count("mss 1460, wscale 7") == 2


STATES = {
    *("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"),
    *("CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"),
}


def test_an_address_that_no_kernel_owns_is_named_by_the_host_that_speaks_for_it(tmp_path: Path):
    folder = write_run(tmp_path)
    topology = json.loads((folder / "topology.json").read_text())
    plan = json.dumps({"name": "peer", "address": "10.64.0.254", "steps": []})
    topology["programs"].append({"host": "peer", "role": "crafter", "arguments": ["--plan", plan]})
    (folder / "topology.json").write_text(json.dumps(topology))
    assert RunFiles.read(folder).endpoint("10.64.0.254", 9000).host == "peer (by hand)"
