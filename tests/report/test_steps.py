"""From table rows to steps, and the choice of the connection that stands for the others."""

from __future__ import annotations

import polars as pl
import pytest
from scripts import EXCHANGE, FIN4, HANDSHAKE, connection_row, rows, walked

from lab.report.steps import choose_typical, flag_names, steps, typical


def test_relative_numbers_go_on_past_two_to_the_32():
    ends = [step.end for step in walked(HANDSHAKE, EXCHANGE, FIN4) if step.direction == "orig"]
    assert ends == [1, 1, 65, 65, 66, 66]  # the script's client starts 6 below 2^32


def test_shifting_all_sequence_numbers_changes_no_step():
    low, high = (steps(pl.DataFrame(rows(HANDSHAKE + EXCHANGE + FIN4, isn=isn)), 0) for isn in (17, 2**32 - 3))
    assert low == high


def test_stream_of_more_than_4_gib_keeps_counting_up():
    gib = 1 << 30
    script = "".join(f"{100 + i} > ACK {1 + i * gib} 1 {gib}\n" for i in range(6))
    assert walked(HANDSHAKE, script)[-1].end == 1 + 6 * gib


def test_connection_without_its_syn_starts_at_one():
    first, second, *_ = walked(EXCHANGE)
    assert (first.seq, first.ack, second.seq, second.ack) == (1, 1, 1, 65)


def test_steps_of_other_connections_are_left_out():
    both = rows(HANDSHAKE, connection=0) + rows(HANDSHAKE + EXCHANGE, connection=1, port=40002)
    assert len(steps(pl.DataFrame(both), 1)) == 7


def test_what_the_analysis_found_becomes_the_note():
    packets = [{**row, "zero_window": row["index"] == 1, "retransmission_kind": "fast"} for row in rows(HANDSHAKE)]
    packets[2]["segment_class"] = "retransmission"
    packets[0]["segment_class"] = "keep_alive"
    notes = [step.note for step in steps(pl.DataFrame(packets), 0)]
    assert notes == ["keep alive", "zero window", "fast retransmission"]


def test_gap_is_noted_once_where_bytes_are_missing():
    script = "100 > PSH+ACK 1 1 64\n120 > PSH+ACK 165 1 64\n140 > PSH+ACK 229 1 64\n"
    assert [step.note for step in walked(HANDSHAKE, script)[3:]] == ["", "gap: 100 B not seen before it", ""]


@pytest.mark.parametrize(
    ("flags", "name"),
    [(2, "SYN"), (18, "SYN-ACK"), (16, "ACK"), (24, "PSH+ACK"), (17, "FIN+ACK"), (20, "RST+ACK"), (0, "no flags")],
)
def test_control_bits_have_the_names_of_the_field(flags: int, name: str):
    assert flag_names(flags) == name


def test_typical_is_of_the_commonest_kind_and_of_median_duration():
    common = [connection_row(n, duration_ns=d) for n, d in enumerate([50, 10, 30, 20, 40])]
    rare = [connection_row(10 + n, teardown="reset", reset="abort", duration_ns=30) for n in range(3)]
    chosen = choose_typical(pl.DataFrame(rare + common, infer_schema_length=None))
    assert (chosen.connection, chosen.alike, chosen.of, chosen.duration_ns) == (2, 5, 8, 30)
    assert chosen.caption == "connection 2: 5 of 8 went this way; it took the median time"


def test_typical_tells_kinds_apart_by_history_too():
    table = [connection_row(0), *(connection_row(n, history="ShADadFRf") for n in (1, 2))]
    assert typical(pl.DataFrame(table, infer_schema_length=None)) in (1, 2)


def test_typical_of_no_connections_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        typical(pl.DataFrame([connection_row(0)], infer_schema_length=None).clear())
