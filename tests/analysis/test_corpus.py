"""Every case of the corpus says what its capture means, and the analysis agrees: `tests/pcaps/<case>/expected.yaml`."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from lab.analysis import Analysis, analyze, tables, words
from lab.analysis.frames import read_frames
from tests.analysis import mutations

CASES = sorted(path.parent for path in (Path(__file__).parent.parent / "pcaps").glob("*/expected.yaml"))


def input_of(case: Path) -> Path:
    """The capture of a case."""
    (capture,) = case.glob("input.*")
    return capture


def differences(table: pl.DataFrame, rows: list[dict[str, Any]] | dict[int, dict[str, Any]], what: str) -> list[str]:
    """What a table says otherwise than expected."""
    found = []
    for number, expected in rows.items() if isinstance(rows, dict) else enumerate(rows):
        row = table.row(number, named=True)
        found += [f"{what} {number}: {k}: expected {v!r}, got {row[k]!r}" for k, v in expected.items() if row[k] != v]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_means_what_its_expectations_say(case: Path) -> None:
    expected = yaml.safe_load((case / "expected.yaml").read_text())
    analysis = analyze([input_of(case)])
    assert not analysis.errors
    found = []
    if "connections" in expected:
        assert analysis.connections.height == len(expected["connections"])
        found += differences(analysis.connections, expected["connections"], "connection")
    assert analysis.connections.height == expected.get("connection_count", analysis.connections.height)
    if "flows" in expected:
        assert analysis.flows.height == len(expected["flows"])
        found += differences(analysis.flows, expected["flows"], "flow")
    assert analysis.flows.height == expected.get("flow_count", analysis.flows.height)
    found += differences(analysis.packets(), expected.get("packets", {}), "packet")
    if "frames" in expected:
        assert analysis.frames is not None
        found += differences(analysis.frames, expected["frames"], "frame")
    found += differences(analysis.captures, expected.get("captures", []), "capture")
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def whole() -> Analysis:
    """All cases in one analysis: files are vantages of their own."""
    return analyze([input_of(case) for case in CASES])


@pytest.mark.parametrize(
    ("column", "defined", "never_decided_here"),
    [
        ("handshake", words.HANDSHAKES, set()),
        ("handshake_reason", words.REASONS, set()),
        ("handshake_variant", words.VARIANTS, set()),
        ("teardown", words.TEARDOWNS, set()),
        ("reset", words.RESETS, {"abort_unread"}),  # needs the server's log
        ("active_closer", words.CLOSERS, set()),
        ("time_wait", words.TIME_WAITS, set()),
        ("conn_state", words.CONN_STATES, set()),
    ],
)
def test_every_word_of_a_connection_has_a_case(
    whole: Analysis, column: str, defined: tuple[str, ...], never_decided_here: set[str]
) -> None:
    assert (
        set(whole.connections[column].drop_nulls().to_list()) == {word for word in defined if word} - never_decided_here
    )


@pytest.mark.parametrize(
    ("column", "defined"),
    [("segment_class", words.SEGMENT_CLASSES), ("retransmission_kind", words.RETRANSMISSION_KINDS)],
)
def test_every_word_of_a_packet_has_a_case(whole: Analysis, column: str, defined: tuple[str, ...]) -> None:
    assert set(whole.packets()[column].drop_nulls().to_list()) == {word for word in defined if word}


@pytest.mark.parametrize("mark", words.MARKS)
def test_every_mark_of_a_packet_has_a_case(whole: Analysis, mark: str) -> None:
    assert whole.packets()[mark].any()


def test_tables_have_the_columns_that_tables_py_lists(whole: Analysis) -> None:
    made = {
        "packets": whole.packets(),
        "connections": whole.connections,
        "flows": whole.flows,
        "captures": whole.captures,
        "frames": read_frames(whole.paths),
    }
    for name, columns in tables.TABLES.items():
        assert dict(made[name].schema) == dict(pl.Schema(tables.schema(columns))), name


def test_columns_that_are_never_null_hold_no_null(whole: Analysis) -> None:
    made = {"packets": whole.packets(), "connections": whole.connections, "flows": whole.flows}
    made["frames"] = read_frames(whole.paths)
    for name, table in made.items():
        for column in tables.TABLES[name]:
            if column.null == "never":
                assert table[column.name].null_count() == 0, f"{name}.{column.name}"


def test_empty_input_gives_empty_tables_of_the_same_columns() -> None:
    analysis = analyze([])
    assert analysis.packets().schema == pl.Schema(tables.schema(tables.PACKETS))
    assert analysis.connections.schema == pl.Schema(tables.schema(tables.CONNECTION_COLUMNS))
    assert analysis.flows.schema == pl.Schema(tables.schema(tables.FLOWS))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_states_its_origin(case: Path) -> None:
    assert re.match(r"# \S.+\.$", (case / "expected.yaml").read_text().splitlines()[0])
    assert (case / "make.py").read_text().startswith('"""')


def test_every_definition_has_a_mutation_that_still_fits_the_code() -> None:
    assert {mutation.definition for mutation in mutations.MUTATIONS} >= mutations.DEFINITIONS
    for mutation in mutations.MUTATIONS:
        assert mutations.broken_source(mutation) != (mutations.ANALYSIS / mutation.file).read_text(encoding="utf-8")


def test_no_case_fails_while_no_rule_is_broken_where_mutations_are_tried() -> None:
    """Else `make mutation`, which takes minutes and is run now and then, would say nothing."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(mutations.caught_by, (None,)) is None
