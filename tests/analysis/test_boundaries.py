"""Message boundaries: the classes and causes worked out on paper in `boundary_case.py`, and a server that is caught."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lab.analysis import boundaries as b
from lab.analysis.boundary_tables import MESSAGES, UNITS, boundary_tables
from lab.inside.boundary_log import ConnectionLog
from lab.inside.framing import LengthPrefix
from lab.verdict.observe import Evidence, observe
from tests.analysis.boundary_case import OPTIONS, START_NS, client_log, ladder, server_log, write_run
from tests.verdict.run_folder import make_run

REQUEST, ANSWER = 0, 1
"""Streams: the client's, which sent first, and the server's."""


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pl.DataFrame]:
    return boundary_tables(write_run(tmp_path, client=client_log(), server=server_log(), wire=ladder()))


def of(tables: dict[str, pl.DataFrame], name: str, stream: int, unit: str | None = None) -> pl.DataFrame:
    rows = tables[name].filter(pl.col("stream") == stream)
    return rows if unit is None else rows.filter(pl.col("unit") == unit)


def test_every_segment_has_the_class_worked_out_on_paper(tables: dict[str, pl.DataFrame]) -> None:
    segments = of(tables, "units", REQUEST, "segment")
    assert segments["start"].to_list() == [0, 100, 300, 1760, 3220]
    assert segments["class"].to_list() == ["aligned", "coalesced", "split", "split", "coalesced"]


def test_every_recv_has_the_class_worked_out_on_paper(tables: dict[str, pl.DataFrame]) -> None:
    recvs = of(tables, "units", REQUEST, "recv")
    assert recvs["class"].to_list() == ["aligned", "coalesced", "split", "split", "coalesced"]
    assert recvs["last_message"].to_list() == [0, 2, 3, 3, 5]
    assert recvs["asked"].to_list() == [1024, 1024, 1024, 4096, 4096]


def test_every_message_has_the_class_and_cause_worked_out_on_paper(tables: dict[str, pl.DataFrame]) -> None:
    columns = ["send_class", "segment_class", "segment_joined_by", "segment_split_by"]
    columns += ["recv_class", "recv_joined_by", "recv_split_by"]
    assert of(tables, "messages", REQUEST).select(columns).rows() == [
        ("aligned", "aligned", None, None, "aligned", None, None),
        ("aligned", "coalesced", "nagle", None, "coalesced", "nagle", None),
        ("aligned", "coalesced", "nagle", None, "coalesced", "nagle", None),
        ("aligned", "coalesced+split", "nagle", "mss", "coalesced+split", "nagle", "mss"),
        ("coalesced", "coalesced", "one_send", None, "coalesced", "one_send", None),
        ("coalesced", "coalesced", "one_send", None, "coalesced", "one_send", None),
    ]
    assert of(tables, "messages", ANSWER).select(columns).rows() == [
        ("aligned", "aligned", None, None, "coalesced", "late_recv", None),
        ("aligned", "aligned", None, None, "coalesced", "late_recv", None),
    ]


def test_a_message_that_was_joined_or_cut_by_the_receiver_is_misread(tables: dict[str, pl.DataFrame]) -> None:
    assert of(tables, "messages", REQUEST)["taken_whole"].to_list() == [True, False, False, False, False, False]
    assert of(tables, "messages", ANSWER)["taken_whole"].to_list() == [False, False]


def test_tables_have_their_columns(tables: dict[str, pl.DataFrame]) -> None:
    assert tables["messages"].columns == [column.name for column in MESSAGES]
    assert tables["units"].columns == [column.name for column in UNITS]


def test_cork_and_a_busy_queue_are_told_from_nagle(tmp_path: Path) -> None:
    for name, held, cause in (("cork", {"cork": 1}, "cork"), ("nodelay", {"nodelay": 1}, "send_queue")):
        folder = tmp_path / name
        client = client_log(options=[[START_NS, OPTIONS | held]])
        made = boundary_tables(write_run(folder, client=client, server=server_log(), wire=ladder()))
        assert of(made, "messages", REQUEST)["segment_joined_by"].to_list()[1:4] == [cause] * 3


def test_super_segments_void_the_wire(tmp_path: Path) -> None:
    wire = ladder()
    wire.a("PA", 3451, ack=101, data=b"z" * 2000)
    tables = boundary_tables(write_run(tmp_path, client=client_log(), server=server_log(), wire=wire))
    assert of(tables, "messages", REQUEST)["segment_class"].null_count() == 6
    assert of(tables, "units", REQUEST, "segment")["class"].null_count() == 6
    assert of(tables, "messages", REQUEST)["recv_joined_by"].to_list()[1:4] == ["unknown"] * 3
    assert of(tables, "messages", ANSWER)["segment_class"].to_list() == ["aligned", "aligned"], (
        "the other direction holds"
    )


def test_without_a_capture_only_what_the_logs_prove_has_a_cause(tmp_path: Path) -> None:
    tables = boundary_tables(write_run(tmp_path, client=client_log(), server=server_log(), wire=None))
    assert of(tables, "messages", REQUEST).select("recv_joined_by", "recv_split_by").rows() == [
        (None, None),
        ("unknown", None),
        ("unknown", None),
        ("unknown", "recv_size"),
        ("one_send", None),
        ("one_send", None),
    ]


def test_without_the_receivers_log_nothing_is_said_of_its_recvs(tmp_path: Path) -> None:
    tables = boundary_tables(write_run(tmp_path, client=client_log(), server=None, wire=ladder()))
    rows = of(tables, "messages", REQUEST)
    assert rows["recv_class"].null_count() == rows["taken_whole"].null_count() == 6
    assert rows["segment_joined_by"].to_list()[1:4] == ["nagle"] * 3


def test_the_four_by_four_table_counts_every_message_once() -> None:
    edges = np.array([100, 200, 300], np.int64)
    sends = b.Sends(
        units=b.Units.of([0, 100, 200], edges),
        t_ns=np.arange(3),
        nodelay=np.ones(3, np.bool_),
        cork=np.zeros(3, np.bool_),
    )
    segments = b.Segments(units=b.Units.of([0, 100, 200], edges), mss=1460)
    recvs = b.Recvs(units=b.Units.of([0, 100, 250], [100, 250, 300]), asked=np.array([100, 150, 150]))
    table = b.find_boundaries(edges, sends, segments, recvs).table()
    assert table.sum() == 3
    aligned, coalesced, both = (b.CLASSES.index(name) for name in ("aligned", "coalesced", "coalesced+split"))
    assert table[aligned, aligned] == table[aligned, coalesced] == table[aligned, both] == 1


def test_a_recv_that_brings_a_whole_message_and_part_of_the_next_is_both() -> None:
    edges = np.array([10, 20], np.int64)
    sends = b.Sends(
        units=b.Units.of([0, 10], edges), t_ns=np.arange(2), nodelay=np.ones(2, bool), cork=np.zeros(2, bool)
    )
    recvs = b.Recvs(units=b.Units.of([0, 15], [15, 20]), asked=np.array([15, 15]))
    found = b.find_boundaries(edges, sends, None, recvs).recvs
    assert found is not None
    assert [b.CLASSES[one] for one in found.unit_class] == ["coalesced+split", "split"]


def converse(framed: bool) -> tuple[ConnectionLog, ConnectionLog]:
    """Send three messages over a real connection to a server with a framing, or to one that takes a recv for one."""
    framing = LengthPrefix()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        ends = client.getsockname(), client.getpeername()
        sender = ConnectionLog(protocol="tcp", local=ends[0], remote=ends[1])
        receiver = ConnectionLog(protocol="tcp", local=ends[1], remote=ends[0])
        with server:
            for size in (10, 2000, 30):
                data = framing.encode(b"m" * size)
                begin = time.time_ns()
                client.sendall(data)
                sender.send(len(data), len(data), begin, time.time_ns())
                sender.message_sent()
            client.shutdown(socket.SHUT_WR)
            kept, taken = framing.decoder(), 0
            while data := server.recv(1024):
                receiver.recv(len(data), 1024, time.time_ns(), time.time_ns())
                if not framed:
                    receiver.message_taken()  # the planted bug
                    continue
                for message in kept.feed(data):
                    taken += 4 + len(message)
                    receiver.message_taken(taken)
    return sender, receiver


@pytest.mark.parametrize(("framed", "misread"), [(True, 0), (False, 3)])
def test_a_server_that_takes_a_recv_for_a_message_is_caught(tmp_path: Path, framed: bool, misread: int) -> None:
    sender, receiver = converse(framed)
    folder = write_run(tmp_path, client=sender.as_json(), server=receiver.as_json(), wire=None)
    messages = boundary_tables(folder)["messages"]
    assert messages.height == 3
    assert messages.filter(~pl.col("taken_whole")).height == misread


def test_the_measures_count_at_the_receiving_host(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run)
    made = boundary_tables(write_run(tmp_path / "case", client=client_log(), server=server_log(), wire=ladder()))
    for name, frame in made.items():
        frame.write_parquet(run / "tables" / f"{name}.parquet")
    evidence = Evidence.read(run)

    def seen(what: str, at: str) -> float | None:
        return observe(f"boundaries.{what}", at, evidence).value

    assert seen("messages", "server") == 6
    assert seen("misread", "server") == 5
    assert [seen(f"segments.{word}", "server") for word in ("all", "aligned", "coalesced", "split")] == [5, 1, 2, 2]
    assert [seen(f"recvs.{word}", "client") for word in ("all", "aligned", "coalesced", "split")] == [1, 0, 1, 0]
    assert [seen(f"joined_by.{word}", "server") for word in ("one_send", "nagle", "late_recv")] == [2, 3, 0]
    assert (seen("cut_by.mss", "server"), seen("joined_by.late_recv", "client")) == (1, 2)
    assert observe("boundaries.messages", "nowhere", evidence).value is None
    with pytest.raises(ValueError, match="no such cause"):
        seen("cut_by.gremlins", "server")
