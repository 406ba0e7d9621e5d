"""Tables of a script: made steps with what they gave, and those that were never made."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from lab.analysis.script_tables import TABLES, script_tables
from lab.verdict.observe import Evidence, observe
from tests.verdict.run_folder import make_run

SCRIPT = [
    {"at": "server", "do": "listen", "as": "l", "port": 9000},
    {"at": "client", "do": "connect", "as": "c", "to": "server", "port": 9000, "gives": "ECONNREFUSED"},
    {"at": "client", "do": "send", "as": "hi", "socket": "c", "size": 5},
    {"at": "client", "do": "look", "as": "now"},
    {"at": "client", "do": "close", "as": "end", "socket": "c"},
    {"do": "phase"},
]


def row(index: int, **given: object) -> dict[str, object]:
    written = SCRIPT[index]
    return {
        "index": index,
        "do": written["do"],
        "label": written.get("as"),
        "socket": written.get("socket"),
        "begin_ns": 1000 + index,
        "end_ns": 3000 + index,
        "outcome": "ok",
        "gives": "ok",
        "as_written": True,
        "bytes": 0,
        "calls": [],
        **given,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "script": SCRIPT}))
    seen = {"state": "TIME-WAIT", "local_addr": "10.0.0.3", "local_port": 1, "remote_addr": "10.0.0.2", "socket": None}
    client = [
        row(1, outcome="ECONNREFUSED", gives="ECONNREFUSED"),
        row(2, bytes=5, calls=[[0, 2, 11], [2, 3, 12]]),
        row(3, sockets=[seen, {**seen, "state": "ESTABLISHED", "socket": "c", "rtt_ns": 7000}]),
    ]
    (tmp_path / "hosts" / "client" / "actor.json").write_text(json.dumps({"steps": client}))
    (tmp_path / "hosts" / "server" / "actor.json").write_text(json.dumps({"steps": [row(0)]}))
    for name, frame in script_tables(tmp_path).items():
        frame.write_parquet(tmp_path / "tables" / f"{name}.parquet")
    return tmp_path


def test_each_step_of_the_script_is_one_row_made_or_not(folder: Path) -> None:
    steps = pl.read_parquet(folder / "tables" / "steps.parquet")
    assert steps["outcome"].to_list() == ["ok", "ECONNREFUSED", "ok", "ok", "not made"]
    assert steps["errno"].to_list() == [None, "ECONNREFUSED", None, None, None]
    assert steps["duration_ns"].to_list() == [2000, 2000, 2000, 2000, None]
    assert steps["host"].to_list() == ["server", "client", "client", "client", "client"]


def test_calls_keep_their_place_in_the_stream(folder: Path) -> None:
    calls = pl.read_parquet(folder / "tables" / "calls.parquet")
    assert calls.select("do", "socket", "offset", "bytes", "t_ns").rows() == [
        ("send", "c", 0, 2, 11),
        ("send", "c", 2, 3, 12),
    ]


def test_every_table_has_its_columns_even_without_a_script(tmp_path: Path) -> None:
    tables = script_tables(make_run(tmp_path))
    assert {name: frame.columns for name, frame in tables.items()} == {
        name: [column.name for column in columns] for name, columns in TABLES.items()
    }


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("script.unexpected", 1),
        ("step.hi.bytes", 5),
        ("step.hi.calls", 2),
        ("step.c.duration", 2000),
        ("state.now.TIME-WAIT", 1),
        ("state.now.LISTEN", 0),
        ("step.end.bytes", None),
    ],
)
def test_measures_of_a_script(folder: Path, what: str, value: float | None) -> None:
    assert observe(what, "server", Evidence.read(folder)).value == value


def test_a_step_that_the_script_does_not_name_is_an_error_of_the_check(folder: Path) -> None:
    with pytest.raises(ValueError, match="no step of that name, got 'nobody'"):
        observe("step.nobody.bytes", "server", Evidence.read(folder))
