"""The summary of a run: right for a whole one, and honest about what is missing from another."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from scripts import connection_row, write_run

from lab.report.text import summary, summary_text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def change(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def joined(text: str) -> str:
    """The text without its line breaks, so that a claim does not hang on where a line was folded."""
    return re.sub(r"\s+", " ", text)


def test_headline_is_the_verdict_and_the_title(run: Path):
    assert summary_text(run).splitlines()[0] == "PASS  small: A few connections"


def test_sentences_tell_the_fleets_and_the_servers_numbers(run: Path):
    text = joined(summary_text(run))
    assert "1 fleet host opened 10 of 10 connections to server (epoll, port 9000); open at once: 10; errors: 0." in text
    assert "To connect: p50 40 us (half took no longer), p99 90 us (99 of 100), max 120 us." in text
    assert "The server used 1 ms of processor time, 100 us for each of 10 messages" in text


def test_a_switch_tells_how_many_frames_it_passed_on(run: Path):
    change(run, "manifest.json", script=[{"at": "bridge", "do": "await-limit"}])
    row = {"index": 0, "host": "bridge", "do": "await-limit", "bytes": 0, "outcome": "ok", "as_written": True}
    pl.DataFrame([{**row, "label": None, "socket": None, "frames": 1000, "error": None}]).write_parquet(
        run / "tables" / "steps.parquet"
    )
    assert "bridge await-limit 1,000 frames." in joined(summary_text(run))


def ledger(run: Path, *sockets_and_slab: tuple[int, int]) -> None:
    rows = [
        {
            "sockets": n,
            "slab_bytes": slab,
            "slab_growth_bytes": slab,
            "kernel_bytes_per_pair": slab / n,
            "user_bytes": 9,
        }
        for n, slab in sockets_and_slab
    ]
    pl.DataFrame(rows).write_parquet(run / "tables" / "memory.parquet")


def test_memory_of_many_connections_is_told_where_the_server_has_accepted_them_too(run: Path):
    ledger(run, (50_000, 200 << 20), (100_000, 600 << 20), (100_000, 1000 << 20), (100, 900 << 20))
    text = joined(summary_text(run))
    assert "The kernel's objects grew by 1000 MiB with 100,000 sockets at the server, 10.2 KiB for both ends" in text


def test_memory_of_few_connections_is_not_told(run: Path):
    ledger(run, (10, 60 << 20))
    assert "kernel's objects" not in summary_text(run)


def test_capture_is_told_with_losses_and_the_kernels_counts(run: Path):
    text = joined(summary_text(run))
    assert "server: 110 packets in the file; lost by the recorder: 0. 60 segments in and 50 out captured" in text
    assert "10 connections; handshakes: 10 complete (SYN, SYN-ACK, ACK). Teardowns: 10 fin4" in text


def test_ladder_shows_the_typical_connection_with_host_names(run: Path):
    text = summary_text(run)
    assert "Seen at server, connection 4: 10 of 10 went this way; it took the median time." in text
    assert re.search(r"10\.64\.0\.11:40005 +10\.64\.0\.2:9000\n", text)
    assert re.search(r"TIME-WAIT .* LAST-ACK\n", text)


def test_whole_summary_fits_sixty_lines_of_a_hundred_columns(run: Path):
    lines = summary_text(run).splitlines()
    assert len(lines) <= 60
    assert all(len(line) <= 100 for line in lines if not line.startswith("  tshark"))


def test_expectation_that_failed_shows_its_evidence(run: Path):
    verdict = json.loads((run / "verdict.json").read_text())
    verdict["expectations"][1].update(observed=9, verdict="fail", evidence="rows with handshake = complete")
    change(run, "verdict.json", verdict="fail", expectations=verdict["expectations"])
    text = summary_text(run)
    assert text.startswith("FAIL  small")
    assert re.search(r"handshake\.complete at server +=? ?10 +9 +FAIL", text)
    assert "handshake.complete at server: fail. Evidence: rows with handshake = complete." in joined(text)


def test_lost_evidence_and_the_bottleneck_stand_at_the_head(run: Path):
    change(
        run,
        "verdict.json",
        verdict="unknown",
        validity="kernel-limited",
        validity_reasons=["server: TcpExt.ListenOverflows grew by 3"],
        lost_evidence=["server: the recorder lost 7 packets"],
    )
    head = joined(summary_text(run).split("What happened")[0])
    assert head.startswith("UNKNOWN")
    assert "kernel-limited: server: TcpExt.ListenOverflows grew by 3" in head
    assert "evidence lost: server: the recorder lost 7 packets" in head


def test_kinds_of_incomplete_handshakes_are_counted_by_reason(run: Path):
    table = [
        connection_row(0),
        *(
            connection_row(n, handshake="incomplete", handshake_reason="refused", teardown="reset", reset="refuse")
            for n in (1, 2)
        ),
    ]
    pl.DataFrame(table, infer_schema_length=None).write_parquet(run / "tables" / "connections.parquet")
    text = joined(summary_text(run))
    assert "3 connections; handshakes: 2 refused (nobody listens: the SYN was answered by RST); 1 complete" in text
    assert "Resets: 2 refuse" in text


ESSENTIAL = [
    "manifest.json",
    "topology.json",
    "verdict.json",
    "hosts/client-1/fleet.json",
    "hosts/server/server.json",
    "hosts/server/capture.json",
    "tables/connections.parquet",
    "tables/packets.parquet",
]


@pytest.mark.parametrize("name", ESSENTIAL)
def test_missing_file_is_named(run: Path, name: str):
    (run / name).unlink()
    assert name in joined(summary_text(run)).split("Missing")[1]


@pytest.mark.parametrize(
    "name", ["manifest.json", "verdict.json", "tables/connections.parquet", "tables/packets.parquet"]
)
def test_damaged_file_is_named(run: Path, name: str):
    (run / name).write_bytes(b"{ not what it should be")
    assert name in joined(summary_text(run)).split("Missing")[1]


def test_missing_number_is_not_recorded_rather_than_zero(run: Path):
    (run / "hosts/client-1/fleet.json").write_text(json.dumps({"opened": 10, "errors": {}}))
    text = joined(summary_text(run))
    assert "opened 10 of 10 connections" in text
    assert "open at once: not recorded" in text
    assert "wrong ones: not recorded" in text


def test_empty_folder_still_gives_a_summary_that_proves_nothing(tmp_path: Path):
    text = summary_text(tmp_path)
    assert text.startswith("UNKNOWN")
    assert "No verdict was reached" in text
    assert "manifest.json; topology.json; verdict.json" in joined(text)


def test_colour_stands_on_verdict_words_alone(run: Path):
    out = io.StringIO()
    Console(file=out, width=100, color_system="standard", force_terminal=True).print(summary(run))
    coloured = re.findall(r"\x1b\[[0-9;]*3[0-9]m([^\x1b]*)", out.getvalue())
    assert {word.strip() for word in coloured} == {"PASS"}
