"""`lab analyze` on captures of other tools, on captures cut anywhere, on what is no capture; as a user meets it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_runner import RUNNER
from typer.testing import Result

from lab.__main__ import app
from lab.errors import EXIT_FAIL, EXIT_INVALID, EXIT_MACHINE_LACKS, LabError
from tests.analysis.test_corpus import CASES, input_of

ROW = (
    "id", "orig_addr", "orig_port", "resp_addr", "resp_port", "start_ns", "duration_ns", "handshake",
    "handshake_reason", "teardown", "reset", "active_closer", "time_wait", "history", "conn_state", "orig_packets",
    "resp_packets", "orig_bytes", "resp_bytes", "orig_retransmissions", "resp_retransmissions",
)  # fmt: skip


def lab_analyze(*arguments: object, exit_code: int = 0) -> Result:
    """Run `lab analyze`; an error of the lab ends it with that error's exit code, as `main` has it."""
    result = RUNNER.invoke(app, ["analyze", *map(str, arguments)])
    if isinstance(result.exception, LabError):
        result.exit_code = result.exception.exit_code
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


def as_json(*arguments: object, exit_code: int = 0) -> Any:
    return json.loads(lab_analyze(*arguments, "--json", exit_code=exit_code).stdout)


def test_json_has_the_promised_keys_and_columns_for_every_capture_of_the_corpus() -> None:
    found = as_json(*(input_of(case) for case in CASES))
    assert len(found) == len(CASES)
    for case, data in zip(CASES, found, strict=True):
        assert list(data) == ["file", "packets", "connections", "flows"]
        assert data["file"] == str(input_of(case))
        assert data["connections"] or data["flows"] or case.name == "malformed"
        assert all(set(ROW) <= set(row) for row in data["connections"])


def test_several_files_give_a_list_in_their_order() -> None:
    files = [input_of(case) for case in CASES[:3]]
    assert [found["file"] for found in as_json(*files)] == [str(file) for file in files]


def test_the_summary_names_kinds_flows_and_what_the_recorder_lost() -> None:
    pcaps = input_of(CASES[0]).parent.parent
    text = lab_analyze(pcaps / "pcapng-drops" / "input.pcapng").stdout
    assert "eth0 (Ethernet, filter 'tcp'): 13 packets; the recorder lost 3 packets" in text
    assert "4 connections at" in text
    assert "the file does not tell whether packets were lost" in lab_analyze(pcaps / "fin4" / "input.pcap").stdout
    assert "reported unreachable" in lab_analyze(pcaps / "udp-port-unreachable" / "input.pcap").stdout


def converted(source: Path, target: Path, kind: str, *options: str) -> Path:
    """Let Wireshark's editcap write a capture anew in another format."""
    if shutil.which("editcap") is None:
        pytest.skip("editcap is not installed")
    subprocess.run(["editcap", "-F", kind, *options, source, target], check=True, capture_output=True)
    return target


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_what_editcap_writes_says_the_same(tmp_path: Path, kind: str) -> None:
    source = input_of(next(case for case in CASES if case.name == "retransmission-fast"))
    data = as_json(converted(source, tmp_path / "x", kind))
    assert data | {"file": ""} == as_json(source) | {"file": ""}


def test_what_mergecap_writes_holds_the_connections_of_both(tmp_path: Path) -> None:
    if shutil.which("mergecap") is None:
        pytest.skip("mergecap is not installed")
    names = ("ipv6", "refused")
    sources = [input_of(case) for case in CASES if case.name in names]
    subprocess.run(["mergecap", "-w", tmp_path / "x.pcapng", *sources], check=True)
    assert len(as_json(tmp_path / "x.pcapng")["connections"]) == 2


def test_a_file_cut_anywhere_tells_what_came_before_and_where(tmp_path: Path) -> None:
    source = input_of(next(case for case in CASES if case.name == "fin4"))
    whole = source.read_bytes()
    before = 0
    for size in random.Random(5).sample(range(25, len(whole)), 6):
        cut = tmp_path / f"{size}.pcap"
        cut.write_bytes(whole[:size])
        result = RUNNER.invoke(app, ["analyze", str(cut), "--json"])
        data = json.loads(result.stdout)
        if result.exit_code:  # not cut exactly between two records
            assert result.exit_code == EXIT_FAIL
            assert f"error: {cut}: byte " in result.stderr
        before += data["packets"]
        text = RUNNER.invoke(app, ["analyze", str(cut)])
        assert f"{cut}: {data['packets']} packets" in text.stdout
        assert ("byte " in text.stderr) == bool(result.exit_code)
    assert before > 0


def test_the_gravest_of_several_errors_is_the_exit_code_and_good_files_are_told(tmp_path: Path) -> None:
    good = input_of(CASES[0])
    cut, noise = tmp_path / "cut.pcap", tmp_path / "noise"
    cut.write_bytes(good.read_bytes()[:-3])
    noise.write_bytes(b"no capture")
    result = lab_analyze(noise, cut, good, "--json", exit_code=EXIT_INVALID)
    assert [found["file"] for found in json.loads(result.stdout)] == [str(cut), str(good)]
    assert f"{noise}: byte 0: not a capture file" in result.stderr
    assert f"{cut}: byte " in result.stderr


@pytest.mark.parametrize("size", [0, 1, 3, 4, 11, 100, 5000])
def test_what_is_no_capture_exits_2(tmp_path: Path, size: int) -> None:
    file = tmp_path / "noise"
    file.write_bytes(random.Random(size).randbytes(size))
    result = lab_analyze(file, exit_code=EXIT_INVALID)
    assert result.stdout == ""
    assert "byte 0: not a capture file" in result.stderr


def test_random_bytes_behind_a_good_header_never_crash(tmp_path: Path) -> None:
    header = input_of(next(case for case in CASES if case.name == "fin4")).read_bytes()[:24]
    for seed in range(8):
        file = tmp_path / f"{seed}.pcap"
        file.write_bytes(header + random.Random(seed).randbytes(500))
        assert RUNNER.invoke(app, ["analyze", str(file)]).exit_code in (0, EXIT_FAIL)


def test_one_connection_is_drawn_and_its_picture_and_packets_written(tmp_path: Path) -> None:
    file = input_of(next(case for case in CASES if case.name == "port-reuse"))
    svg, pcap = tmp_path / "x.svg", tmp_path / "x.pcapng"
    result = lab_analyze(file, "--connection", 1, "--svg", svg, "--pcap", pcap)
    assert "SYN-SENT" in result.stdout
    assert svg.read_text().startswith("<svg")
    only = as_json(pcap)["connections"]
    row = as_json(file)["connections"][1]
    assert [(one["history"], one["start_ns"], one["orig_isn"]) for one in only] == [
        (row["history"], row["start_ns"], row["orig_isn"])
    ]
    assert as_json(file, "--connection", 1)["connection"] == row


def test_packets_are_listed_as_many_as_wanted_and_one_is_taken_apart() -> None:
    file = input_of(next(case for case in CASES if case.name == "arp"))
    listed = lab_analyze(file, "--packets", "--limit", 2).stdout.splitlines()
    assert (listed[0], len(listed)) == (f"7 packets at {file}", 6)
    assert listed[4] == "5 more: `--limit 7` shows them"
    assert [row["index"] for row in as_json(file, "--packets", "--limit", 2)] == [0, 1]
    assert "14 + 28 + 18 = 60 bytes" in lab_analyze(file, "--packet", 1).stdout
    assert as_json(file, "--packet", 1)["layers"][1]["name"] == "ARP"
    result = lab_analyze(file, file, "--packet", 1, exit_code=EXIT_INVALID)
    assert "look into one file, got 2" in str(result.exception)


def test_a_condition_chooses_connections(tmp_path: Path) -> None:
    file = input_of(next(case for case in CASES if case.name == "pcapng-drops"))
    rows = as_json(file, "--where", "handshake_reason = 'refused'")["connections"]
    assert [row["handshake_reason"] for row in rows] == ["refused"]
    lab_analyze(file, "--where", "handshake_reason = 'refused'", "--pcap", tmp_path / "x.pcapng")
    assert as_json(tmp_path / "x.pcapng")["packets"] == 2
    assert "0 of 4 connections" not in lab_analyze(file, "--where", "orig_port > 0").stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--where", "nonsense = 1"], "nonsense"),
        (["--where", "handshake = "], "--where"),
        (["--connection", 99], "no connection 99"),
        (["--svg", "x.svg"], "--connection N"),
        (["--scapy"], "--where SQL"),
        (["--packet", 99], "no packet 99"),
        (["--packet", 0, "--packets"], "no other choice stands beside it"),
        (["--packets", "--where", "nonsense = 1"], "nonsense"),
    ],
)
def test_a_wrong_wish_exits_2_and_says_why(options: list[object], says: str) -> None:
    result = lab_analyze(input_of(CASES[0]), *options, exit_code=EXIT_INVALID)
    assert says in str(result.exception)


def test_files_that_are_not_there_are_named_all_at_once(tmp_path: Path) -> None:
    result = lab_analyze(tmp_path / "one", tmp_path / "two", exit_code=EXIT_INVALID)
    assert "one: no such file" in str(result.exception)
    assert "two: no such file" in str(result.exception)


def test_parquet_has_a_folder_a_file(tmp_path: Path) -> None:
    files = [input_of(case) for case in CASES[:2]]
    lab_analyze(files[0], "--parquet", tmp_path / "one")
    assert pl.read_parquet(tmp_path / "one" / "packets.parquet").height == as_json(files[0])["packets"]
    lab_analyze(*files, "--parquet", tmp_path / "both")
    tables = sorted(tmp_path.glob("both/*/connections.parquet"))
    assert [table.parent.name for table in tables] == ["input", "input-2"]


def test_scapy_gets_the_packets_of_the_connection_alone() -> None:
    file = input_of(next(case for case in CASES if case.name == "fin4"))
    command = [sys.executable, "-m", "lab", "analyze", str(file), "--connection", "0", "--scapy"]
    typed = "print('got', len(packets), packets[0][TCP].flags, packets[0].time)\n"
    project = Path(__file__).parents[1]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, check=True, cwd=project)
    row = as_json(file)["connections"][0]
    assert f"got {row['orig_packets'] + row['resp_packets']} S {row['start_ns'] / 1e9}" in done.stdout


def test_wireshark_gets_the_packets_of_the_connection_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "wireshark"
    program.write_text(f'#!/bin/sh\ntest "$1" = -r && cp "$2" {tmp_path}/shown.pcapng\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    file = input_of(next(case for case in CASES if case.name == "port-reuse"))
    lab_analyze(file, "--connection", 0, "--wireshark")
    assert len(as_json(tmp_path / "shown.pcapng")["connections"]) == 1


def test_without_wireshark_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = lab_analyze(input_of(CASES[0]), "--connection", 0, "--wireshark", exit_code=EXIT_MACHINE_LACKS)
    assert isinstance(result.exception, LabError)
    assert "--pcap FILE" in str(result.exception.hint)


def test_a_first_call_that_compiles_says_so_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.analysis import compile_ahead, compiled

    monkeypatch.setattr(compile_ahead, "HALVES", {})
    monkeypatch.setattr(compiled, "compiles_on_first_call", lambda: True)
    result = lab_analyze(input_of(CASES[0]), "--json")
    assert "compiling the analysis" in result.stderr
    assert json.loads(result.stdout)["packets"]
