"""Ten datagrams whose fate at every point was worked out on paper; captures and logs are made by hand.

Sent at 0, 10, .. 90 ms, in the sender's capture 1 ms later. The wire loses number 3, holds 5 back behind 6 and 7, and
doubles it. At the receiver's interface, in ms, and how long each took since it was sent:

    number    0   1   2   4   6   7   5   5   8   9
    time      5  15  25  61  81  91  95  96 101 111
    took      5   5   5  21  21  21  45   -  21  21
    |D|           0   0  16   0   0  24   -  24   0

One is reordered (5: below 7), by an extent of 2 (it is the seventh first copy; the earliest above it, 6, is the fifth).
Jitter after each D: 0, 0, 1, 0.9375, 0.87890625, 2.323974609375, 3.6787261962890625 (the most), 3.448805809 ms.
The receiver's kernel has no room for 8, and the program's buffer cuts 9.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab.analysis import analyze, write_parquet
from lab.analysis.capture_writer import InterfaceDescription, PcapngWriter
from lab.analysis.datagram_order import Seen, jitter, lost, order
from lab.analysis.datagram_points import datagram_tables
from lab.inside.numbered import HEAD, number_of
from lab.verdict.datagrams import observe_datagrams
from lab.verdict.observe import Evidence

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
CLIENT, SERVER = ("10.0.0.3", 40_000), ("10.0.0.2", 9000)
SENT_MS = {number: 10 * number for number in range(10)}
ARRIVED = [(0, 5), (1, 15), (2, 25), (4, 61), (6, 81), (7, 91), (5, 95), (5, 96), (8, 101), (9, 111)]
TAKEN = [(number, ms) for number, ms in ARRIVED if number != 8]
JITTER_NS, MOST_NS = 3_448_806, 3_678_726


def datagram(number: int, *, digits: bool) -> bytes:
    """A fleet's datagram with its stamp, or a script's with eight digits."""
    head = b"%08d" % number if digits else HEAD.pack(number, 7_000 * MS + SENT_MS[number] * MS)
    return head.ljust(100, b"x")


def write_capture(path: Path, arrivals: list[tuple[int, int]], *, digits: bool) -> None:
    with PcapngWriter(path, InterfaceDescription(name="eth0")) as writer:
        for place, (number, ms) in enumerate(arrivals):
            packet = IP(src=CLIENT[0], dst=SERVER[0], id=place + 1) / UDP(sport=CLIENT[1], dport=SERVER[1])
            frame = Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:02") / packet / datagram(number, digits=digits)
            writer.packet(START_NS + ms * MS, bytes(frame))
        stranger = Ether() / IP(src="10.0.0.9", dst=SERVER[0]) / UDP(sport=53, dport=53) / b"a text of no number"
        writer.packet(START_NS + 200 * MS, bytes(stranger))


def call(kind: str, number: int, ms: int, length: int = 100) -> list[Any]:
    t_ns = START_NS + ms * MS
    return [kind, 0, length, 65536, t_ns, t_ns, 100, number]


def write_log(folder: Path, program: str, local: Any, remote: Any, calls: list[Any], left_out: int = 0) -> None:
    one = {"protocol": "udp", "local": local, "remote": remote, "options": [], "calls": calls, "left_out": left_out}
    connections = [{**one, "sent": [], "taken": []}]
    (folder / f"boundaries-{program}.json").write_text(json.dumps({"program": program, "connections": connections}))


def write_run(folder: Path, *, digits: bool = False, logs: bool = True, left_out: int = 0) -> Path:
    """Write as much of a run folder as the table reads."""
    for name in ("hosts/client", "hosts/server", "captures", "tables"):
        (folder / name).mkdir(parents=True)
    addresses = {"client": CLIENT[0], "server": SERVER[0]}
    hosts = [{"name": name, "interfaces": [{"address": address}]} for name, address in addresses.items()]
    (folder / "topology.json").write_text(json.dumps({"hosts": hosts, "programs": []}))
    (folder / "manifest.json").write_text(json.dumps({"server_host": "server"}))
    captures = {"client": [(n, ms + 1) for n, ms in SENT_MS.items()], "server": ARRIVED}
    frames = []
    for host, arrivals in captures.items():
        path = folder / "captures" / f"{host}.pcapng"
        write_capture(path, arrivals, digits=digits)
        write_parquet(analyze([path]), folder / "tables")
        packets = pl.read_parquet(folder / "tables" / "packets.parquet")
        frames.append(packets.select(pl.lit(host).alias("host"), pl.all()))
    pl.concat(frames).write_parquet(folder / "tables" / "packets.parquet")
    if logs:
        sends = [call("send", number, ms) for number, ms in SENT_MS.items()]
        recvs = [call("recv", number, ms + 1, 60 if number == 9 else 100) for number, ms in TAKEN]
        write_log(folder / "hosts" / "client", "fleet-0", CLIENT, SERVER, sends, left_out)
        write_log(folder / "hosts" / "server", "server-1", SERVER, CLIENT, recvs, left_out)
    return folder


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    table = datagram_tables(folder)["datagram_points"]
    assert table["stream"].unique().to_list() == [0], "who sends no numbers has no row"
    return {row["point"]: row for row in table.to_dicts()}


@pytest.mark.parametrize("digits", [False, True], ids=["fleet", "script"])
def test_every_point_has_the_numbers_worked_out_on_paper(tmp_path: Path, digits: bool) -> None:
    seen = rows(write_run(tmp_path, digits=digits))

    def told(point: str, *names: str) -> tuple[Any, ...]:
        return tuple(seen[point][name] for name in names)

    assert list(seen) == ["send", "sender", "receiver", "recv"]
    assert told("receiver", "sender", "receiver", "sender_port", "receiver_port") == ("client", "server", 40_000, 9000)
    counts = ("datagrams", "distinct", "missing", "since", "lost", "duplicated", "reordered", "extent")
    assert told("send", *counts) == (10, 10, 0, None, None, 0, 0, 0)
    assert told("sender", *counts) == (10, 10, 0, "send", 0, 0, 0, 0)
    assert told("receiver", *counts) == (10, 9, 1, "sender", 1, 1, 1, 2)
    assert told("recv", *counts) == (9, 8, 2, "receiver", 1, 1, 1, 2)
    assert told("recv", "truncated") == (1,)
    assert told("sender", "jitter_ns", "jitter_max_ns") == (0, 0)
    assert told("receiver", "jitter_ns", "jitter_max_ns", "hop_jitter_ns") == (JITTER_NS, MOST_NS, JITTER_NS)


def test_without_logs_the_stamps_in_the_datagrams_tell_when_they_were_sent(tmp_path: Path) -> None:
    seen = rows(write_run(tmp_path, logs=False))

    assert list(seen) == ["sender", "receiver"]
    assert (seen["receiver"]["jitter_ns"], seen["receiver"]["lost"]) == (JITTER_NS, 1)


def test_without_stamps_and_logs_only_the_way_between_the_captures_has_a_jitter(tmp_path: Path) -> None:
    seen = rows(write_run(tmp_path, digits=True, logs=False))

    assert (seen["receiver"]["jitter_ns"], seen["receiver"]["hop_jitter_ns"]) == (None, JITTER_NS)


def test_a_log_that_left_calls_out_is_no_point(tmp_path: Path) -> None:
    assert list(rows(write_run(tmp_path, left_out=1))) == ["sender", "receiver"]


def test_the_measures_add_up_and_hold_the_kernel_to_its_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    datagram_tables(folder)["datagram_points"].write_parquet(folder / "tables" / "datagram_points.parquet")
    readings = [{"counters": {}}, {"counters": {"Udp.RcvbufErrors": 1}}]
    (folder / "hosts" / "server" / "observed.json").write_text(json.dumps({"counters": readings}))
    (folder / "hosts" / "server" / "host.json").write_text(json.dumps({"counters_first": {"Udp.RcvbufErrors": 0}}))
    evidence = Evidence.read(folder)
    expected = {
        "sent": 10,
        "taken": 8,
        "lost_on_wire": 1,
        "lost_at_receiver": 1,
        "unexplained": 0,
        "duplicated": 1,
        "reordered": 1,
        "extent": 2,
        "truncated": 1,
        "jitter.sender": 0,
        "jitter.receiver": JITTER_NS,
        "jitter.wire": JITTER_NS,
    }
    assert {name: observe_datagrams(f"datagrams.{name}", "server", evidence).value for name in expected} == expected
    with pytest.raises(ValueError, match="no such point"):
        observe_datagrams("datagrams.jitter.nowhere", "server", evidence)
    assert observe_datagrams("datagrams.sent", "client", evidence).value is None, "nothing was sent there"


def test_a_number_is_read_where_there_is_one() -> None:
    assert number_of(b"00000042 and more") == 42
    assert number_of(HEAD.pack(43, 1) + b"body") == 43
    assert number_of(b"ping 1") is None
    assert number_of(b"is anybody there") is None


def test_order_is_that_of_a_plain_count_of_every_pair() -> None:
    chance = np.random.default_rng(5)
    for _ in range(50):
        numbers = chance.integers(0, 30, size=40)
        first = list(dict.fromkeys(numbers.tolist()))
        above = {i: [j for j in range(i) if first[j] > first[i]] for i in range(len(first))}
        late = {i: min(places) for i, places in above.items() if places}
        told = order(Seen.of(numbers, np.arange(40)))
        assert (told.distinct, told.duplicated, told.reordered) == (len(first), 40 - len(first), len(late))
        assert told.extent == max((i - j for i, j in late.items()), default=0)
        assert told.missing == max(first) - min(first) + 1 - len(first)


def test_nothing_sent_has_no_jitter_and_loses_nothing() -> None:
    nothing = Seen.of([], [])
    assert order(nothing).datagrams == 0
    assert jitter(nothing, Seen.of([1, 2], [1, 2])) is None
    assert jitter(Seen.of([1, 2], [1, 2]), nothing) is None
    assert lost(nothing, nothing) == 0
