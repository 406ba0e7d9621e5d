"""`lab inspect` on a run folder of two captured hosts, whose wire lost, delayed, doubled and reordered segments."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_runner import RUNNER

from lab import results
from lab.__main__ import app
from lab.analysis import analyze
from lab.analysis.capture_file import PcapngWriter, raw_packets
from lab.errors import EXIT_INVALID, ScenarioInvalid
from lab.report.html import report_html
from lab.report.text import summary_text
from lab.results import make_tables
from tests.pcaps.craft import Ladder

PCAPS = Path(__file__).parent / "pcaps"
Frames = list[tuple[int, bytes]]
DELAY_NS = 40_000
HOSTS = {"client": "10.0.0.1", "server": "10.0.0.2"}


def write_run(folder: Path, captures: dict[str, Frames], *, dropped: int = 0) -> Path:
    """Make a run folder as a session leaves it, as far as looking into it needs."""
    for part in ("captures", "hosts", "tables"):
        (folder / part).mkdir(parents=True)
    topology = {"hosts": [{"name": name, "interfaces": [{"address": HOSTS[name]}]} for name in HOSTS]}
    topology["programs"] = [{"host": name, "role": "capture"} for name in captures]
    (folder / "topology.json").write_text(json.dumps(topology))
    (folder / "manifest.json").write_text(json.dumps({"server_host": "server"}))
    for name, frames in captures.items():
        with PcapngWriter(folder / "captures" / f"{name}.pcapng") as file:
            for t_ns, data in frames:
                file.packet(t_ns, data)
            file.statistics(frames[-1][0], received=len(frames), dropped=dropped)
    make_tables(folder, lambda line: None)
    return folder


def crossing() -> tuple[Frames, Frames]:
    """Two connections as client and server saw them; each segment takes 40 us, whoever sends it.

    On the way of the second connection the third of five segments is lost, and the fourth arrives twice, the second
    time after the fifth.
    """
    ladder = Ladder()
    ladder.handshake()
    ladder.close()
    ladder.ports["a"] += 1
    ladder.handshake()
    for n in range(5):
        ladder.a("PA", 1 + 10 * n, ack=1, data=b"x" * 10, id=100 + n)
    here, there = [], []
    for t_ns, frame in ladder.frames:
        from_client = frame[26:30] == bytes([10, 0, 0, 1])
        here.append((t_ns + (0 if from_client else DELAY_NS), frame))
        there.append((t_ns + (DELAY_NS if from_client else 0), frame))
    again = (there[-1][0] + DELAY_NS + 2_000_000, there[-2][1])
    del there[-3]
    return here, [*there, again]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    here, there = crossing()
    return write_run(tmp_path / "run", {"client": here, "server": there})


def inspect(run: Path, *arguments: object) -> Any:
    result = RUNNER.invoke(app, ["inspect", str(run), *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


@pytest.mark.parametrize("kept_packets", [1_000_000, 0], ids=["together", "one after the other"])
def test_the_tables_of_one_captured_host_have_the_form_of_those_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_packets: int
) -> None:
    monkeypatch.setattr(results, "KEPT_PACKETS", kept_packets)
    here, there = crossing()
    one = write_run(tmp_path / "one", {"server": there}) / "tables"
    two = write_run(tmp_path / "two", {"client": here, "server": there}) / "tables"
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    for name in ("packets", "connections", "flows", "captures"):
        alone, both = (pl.read_parquet(folder / f"{name}.parquet") for folder in (one, two))
        assert alone.columns[0] == "host"
        assert both.schema == alone.schema
        if name != "captures":  # which names the file
            assert both.filter(pl.col("host") == "server").equals(alone)
        assert both["host"].unique(maintain_order=True).to_list() in ([], ["client", "server"])


def test_each_direction_tells_its_losses_and_its_one_way_delay(run: Path) -> None:
    there, back = inspect(run, "--vantages", "--json")["paths"]
    assert (there["from"], there["to"], back["from"], back["to"]) == ("client", "server", "server", "client")
    assert (there["sent"], there["arrived"]) == (11, 11)
    assert (there["lost"], there["duplicated"]) == (1, 1)
    assert (back["sent"], back["lost"], back["duplicated"], back["reordered"]) == (4, 0, 0, 0)
    assert {path[f"delay_{which}_ns"] for path in (there, back) for which in ("min", "p50", "max")} == {DELAY_NS}


def test_each_segment_tells_what_became_of_it(run: Path) -> None:
    segments = inspect(run, "--vantages", "--connection", 1, "--json")["segments"]
    data = [row for row in segments if row["payload_bytes"]]
    assert [row["lost"] for row in data] == [False, False, True, False, False, False]
    assert [row["duplicated"] for row in data] == [False] * 5 + [True]
    assert [row["delay_ns"] for row in data] == [DELAY_NS, DELAY_NS, None, DELAY_NS, DELAY_NS, None]
    assert len(segments) == 3 + 6  # of the other connection, nothing


def test_the_text_shows_what_is_unusual_and_a_chosen_connection_whole(run: Path) -> None:
    told = inspect(run, "--vantages")
    assert "client  server  11    11" in told
    assert told.count(" lost\n") == 1
    assert "arrived\n" not in told
    assert inspect(run, "--vantages", "--connection", 0).count("arrived\n") == 7


def test_a_connection_has_its_own_number_at_each_vantage(tmp_path: Path) -> None:
    """The server's capture begins with the second connection, so that this one is its number 0."""
    here, there = crossing()
    run = write_run(tmp_path / "run", {"client": here, "server": there[7:]})
    as_server = inspect(run, "--vantages", "--connection", 0, "--json")["segments"]
    as_client = inspect(run, "--vantages", "--connection", 1, "--host", "client", "--json")["segments"]
    assert as_server == as_client
    assert {row["sent_connection"] for row in as_server if row["from"] == "client"} == {1, None}


def test_captures_that_lost_packets_claim_no_loss(tmp_path: Path) -> None:
    here, there = crossing()
    run = write_run(tmp_path / "run", {"client": here, "server": there}, dropped=1)
    assert all(
        path["lost"] is None and path["duplicated"] is None for path in inspect(run, "--vantages", "--json")["paths"]
    )


def test_one_captured_host_is_not_enough(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"server": crossing()[1]})
    with pytest.raises(ScenarioInvalid, match="two captured hosts are needed, got server") as raised:
        inspect(run, "--vantages")
    assert raised.value.exit_code == EXIT_INVALID


def test_a_connection_of_a_run_is_drawn_with_host_names_and_its_packets_written(run: Path, tmp_path: Path) -> None:
    svg, pcap = tmp_path / "x.svg", tmp_path / "x.pcapng"
    drawn = inspect(run, "--connection", 0, "--svg", svg, "--pcap", pcap, "--host", "client")
    assert drawn.splitlines()[0].split()[-2:] == ["client", "server"]
    assert ">client<" in svg.read_text()
    assert analyze([pcap]).packet_count == 7


def test_kinds_come_with_an_example_and_a_condition_chooses(run: Path) -> None:
    assert "2 connections at server, by kind" in inspect(run)
    assert [kind["example"] for kind in inspect(run, "--json")] == [0, 1]
    assert [row["id"] for row in inspect(run, "--where", "teardown = 'fin4'", "--json")] == [0]


def test_packets_are_listed_with_host_names_and_one_is_taken_apart(run: Path) -> None:
    listed = inspect(run, "--packets", "--connection", 0, "--host", "client").splitlines()
    assert listed[0] == "7 packets at client"
    assert listed[2].split()[2:7] == ["client", "server", "TCP", "40000", ">"]
    assert listed[-1] == f"Take one apart: `lab inspect {run.parent.name} --host client --packet 0`"
    told = inspect(run, "--packet", 0, "--host", "client")
    assert told.startswith("Packet 0 at client: client to server, TCP 40000 > 80 SYN seq 0 len 0\n")
    assert "14 + 20 + 24 = 58 bytes" in told
    data = inspect(run, "--packet", 0, "--json")
    assert [(layer["name"], layer["bytes"]) for layer in data["layers"]] == [
        ("Ethernet", 14),
        ("IPv4", 20),
        ("TCP", 24),
    ]


def test_a_packet_that_is_not_there_is_told_with_how_many_there_are(run: Path) -> None:
    with pytest.raises(ScenarioInvalid, match="no packet 999; there are 15, numbered from 0"):
        inspect(run, "--packet", 999)
    with pytest.raises(ScenarioInvalid, match="--packet: takes one packet apart: no other choice stands beside it"):
        inspect(run, "--packet", 1, "--connection", 0)


def test_a_run_without_a_connection_shows_its_packets_one_by_one(tmp_path: Path) -> None:
    frames = [(packet.t_ns, packet.data) for packet in raw_packets(PCAPS / "arp" / "input.pcap")]
    folder = write_run(tmp_path / "run", {"server": frames})
    for number, host in enumerate(HOSTS, start=1):
        keeper = folder / "hosts" / host / "host.json"
        keeper.parent.mkdir()
        keeper.write_text(json.dumps({"interfaces": {"eth0": {"mac": f"02:00:00:00:00:0{number}"}}}))
    told = summary_text(folder)
    assert re.search(r" 0 +0.000  client +everybody +ARP who has 10.0.0.2", told)
    assert "Packet by packet\n  Seen at server.\n" in told
    assert "ARP who has 10.0.0.2 (server)? tell 10.0.0.1" in told
    assert "ARP: 2 requests, replies: 1; frames to everybody: 3." in told
    html = report_html(tmp_path / "run")
    assert "Packet by packet" in html
    assert "who has 10.0.0.2 (server)?" in html
