"""The verdict: three values, each with its evidence, and never `pass` on lost evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.verdict import judge
from tests.verdict.run_folder import expectation, make_run


def only(folder: Path) -> dict[str, object]:
    (row,) = judge(folder, {})["expectations"]
    return row


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("fleet.opened", 3),
        ("fleet.errors", 1),
        ("fleet.error.ECONNREFUSED", 1),
        ("fleet.error.ETIMEDOUT", 0),
        ("server.accepted", 3),
        ("server.cpu", 4_000_000),
        ("server.cpu_per_message", 1_000_000),
        ("connections", 4),
        ("handshake.complete", 3),
        ("handshake.incomplete", 1),
        ("handshake.refused", 1),
        ("teardown.orderly", 2),
        ("teardown.fin3", 1),
        ("reset.abort", 1),
        ("closer.orig", 2),
        ("answered", 2),
        ("retransmissions", 3),
        ("packets", 18),
        ("capture.packets", 18),
        ("capture.dropped", 0),
        ("capture.unreconciled", 0),
        ("counter.Tcp.InSegs", 10),
        ("counter.TcpExt.ListenOverflows", 0),
    ],
)
def test_each_measure_is_read_from_its_evidence(tmp_path: Path, what: str, value: float) -> None:
    row = only(make_run(tmp_path, expectation(what, equal=value)))
    assert (row["observed"], row["verdict"]) == (value, "pass")
    assert row["evidence"]


def test_a_number_that_differs_fails_and_the_run_fails(tmp_path: Path) -> None:
    verdict = judge(make_run(tmp_path, expectation("fleet.opened", equal=4), expectation("connections", equal=4)), {})
    assert [row["verdict"] for row in verdict["expectations"]] == ["fail", "pass"]
    assert verdict["verdict"] == "fail"


@pytest.mark.parametrize(
    ("bounds", "verdict"), [({"at_least": 3}, "pass"), ({"at_least": 4}, "fail"), ({"at_most": 2}, "fail")]
)
def test_bounds_include_their_ends(tmp_path: Path, bounds: dict[str, int], verdict: str) -> None:
    assert only(make_run(tmp_path, expectation("fleet.opened", **bounds)))["verdict"] == verdict


def test_a_capture_that_lost_packets_proves_nothing(tmp_path: Path) -> None:
    verdict = judge(make_run(tmp_path, expectation("handshake.complete", equal=3), dropped=1), {})
    assert verdict["expectations"][0]["verdict"] == "unknown"
    assert "the recorder lost 1 packets" in verdict["expectations"][0]["evidence"]
    assert verdict["verdict"] == "unknown"


def test_lost_evidence_makes_a_run_unknown_that_asked_nothing_about_it(tmp_path: Path) -> None:
    verdict = judge(make_run(tmp_path, expectation("fleet.opened", equal=3), dropped=1), {})
    assert (verdict["expectations"][0]["verdict"], verdict["verdict"]) == ("pass", "unknown")


def test_a_kernel_that_counted_more_than_was_captured_makes_the_run_unknown(tmp_path: Path) -> None:
    verdict = judge(make_run(tmp_path, expectation("fleet.opened", equal=3), kernel=(11, 8)), {})
    assert verdict["verdict"] == "unknown"
    assert "10 segments in and 8 out captured; the kernel of server counted 11 and 8" in verdict["lost_evidence"][0]


def test_a_segment_after_the_last_reading_is_not_compared_with_the_kernel(tmp_path: Path) -> None:
    """A FIN that waited for its retransmission timer while everything seemed over (met in a noisy minute)."""
    folder = make_run(tmp_path, expectation("capture.unreconciled", equal=0), kernel=(10, 7), last_ns=2_001)
    verdict = judge(folder, {})
    assert verdict["verdict"] == "pass"
    said = str(verdict["expectations"][0]["evidence"])
    assert "10 segments in and 7 out captured; the kernel of server counted 10 and 7: equal" in said
    assert "(1 more captured before its first reading or after its last)" in said


def test_a_segment_up_to_the_last_reading_must_have_been_counted(tmp_path: Path) -> None:
    verdict = judge(make_run(tmp_path, expectation("fleet.opened", equal=3), kernel=(10, 7), last_ns=2_000), {})
    assert verdict["verdict"] == "unknown"
    assert "10 segments in and 8 out captured; the kernel of server counted 10 and 7" in verdict["lost_evidence"][0]


def test_a_filter_that_keeps_a_part_is_not_compared_with_the_kernel(tmp_path: Path) -> None:
    folder = make_run(tmp_path, expectation("capture.unreconciled", equal=0), capture_filter="tcp[13] & 2 != 0")
    row = only(folder)
    assert row["verdict"] == "unknown"
    assert "keeps only a part" in str(row["evidence"])


def test_a_fleet_that_left_no_result_is_unknown_not_zero(tmp_path: Path) -> None:
    row = only(make_run(tmp_path, expectation("fleet.opened", equal=0), fleet={}))
    assert (row["observed"], row["verdict"]) == (None, "unknown")
    assert "no fleet.json from client" in str(row["evidence"])


def test_arrivals_that_were_not_started_make_the_run_unknown(tmp_path: Path) -> None:
    fleet = {"opened": 3, "errors": {}, "arrivals": {"not_started": 7}, "phases": []}
    verdict = judge(make_run(tmp_path, expectation("fleet.opened", equal=3), fleet=fleet), {})
    assert verdict["verdict"] == "unknown"
    assert verdict["validity"] == "generator-limited"


def test_a_counter_this_kernel_does_not_have_is_unknown_not_zero(tmp_path: Path) -> None:
    row = only(make_run(tmp_path, expectation("counter.TcpExt.ListenOverflow", equal=0)))
    assert (row["observed"], row["verdict"]) == (None, "unknown")


@pytest.mark.parametrize(("others_ns", "kind"), [(9_000, "host-noisy"), (1_000, "valid")])
def test_processors_taken_by_others_make_a_run_host_noisy(tmp_path: Path, others_ns: int, kind: str) -> None:
    folder = make_run(tmp_path, expectation("fleet.opened", equal=3))
    observed = folder / "hosts" / "server" / "observed.json"
    data = json.loads(observed.read_text())
    own_ns = 4_000_000  # what server.json says
    ticks = {"Cpu.user_ns": own_ns + others_ns * 1000, "Cpu.nice_ns": 0, "Cpu.system_ns": 0, "Cpu.steal_ns": 0}
    data["counters"][1]["counters"] |= {**ticks, "Cpu.total_ns": 20_000_000}
    observed.write_text(json.dumps(data))
    verdict = judge(folder, {})
    assert (verdict["validity"], verdict["verdict"]) == (kind, "pass")


def test_a_check_that_crashes_is_unknown_with_its_error(tmp_path: Path) -> None:
    row = only(make_run(tmp_path, expectation("how many", query="SELECT nonsense FROM connections", equal=0)))
    assert row["verdict"] == "unknown"
    assert "the check itself failed" in str(row["evidence"])


def test_a_query_asks_the_tables(tmp_path: Path) -> None:
    sql = "SELECT count(*) FROM connections WHERE orig_bytes > 0 AND resp_bytes = 0"
    assert only(make_run(tmp_path, expectation("unanswered", query=sql, equal=1)))["verdict"] == "pass"
