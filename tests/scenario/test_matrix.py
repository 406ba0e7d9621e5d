"""A scenario that is a series: its cells, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioInvalid
from lab.scenario.load import load, load_cell
from lab.scenario.matrix import cells

BASE = """\
title: Two ways to wait
hosts: {server: {}, client: {}}
server: {model: epoll}
fleet:
  connections: 100
  phases: [{phase: connect}, {phase: load, messages: 5}, {phase: drain}]
"""
MATRIX = """\
matrix:
  server.model: [poll, epoll, {server.model: sanic, fleet.message.framing: http}]
  fleet.connections: [10, 1k]
exclude:
  - {server.model: sanic, fleet.connections: 1k}
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    return file


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as caught:
        load(written(tmp_path, BASE + text))
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


def test_cells_are_the_product_less_what_is_excluded(tmp_path: Path) -> None:
    found = cells(load(written(tmp_path, BASE + MATRIX)).data)
    assert [cell.name for cell in found] == ["poll-10", "poll-1k", "epoll-10", "epoll-1k", "sanic-10"]


def test_a_cell_is_a_scenario_of_its_own(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, BASE + MATRIX))
    sanic = load_cell(loaded, cells(loaded.data)[-1])
    assert sanic.scenario.server is not None
    assert sanic.scenario.fleet is not None
    assert (sanic.scenario.server.model, sanic.scenario.fleet.message.framing) == ("sanic", "http")
    assert not sanic.scenario.matrix
    assert loaded.scenario.fleet is not None
    assert loaded.scenario.fleet.connections == 100, "the scenario itself is left as it was"


def test_an_item_of_a_list_can_vary(tmp_path: Path) -> None:
    text = BASE + 'matrix:\n  "fleet.phases[1].messages": [1, 9]\n'
    loaded = load(written(tmp_path, text))
    counts = [load_cell(loaded, cell).data["fleet"]["phases"][1]["messages"] for cell in cells(loaded.data)]
    assert counts == [1, 9]


def test_what_is_expected_only_of_some_cells_stands_in_those_alone(tmp_path: Path) -> None:
    expect = (
        "expect:\n"
        "  - {what: fleet.errors, equal: 0}\n"
        "  - {what: fleet.received, equal: 50, only: {server.model: epoll, fleet.connections: 10}}\n"
    )
    loaded = load(written(tmp_path, BASE + MATRIX + expect))
    expected = {cell.name: load_cell(loaded, cell).scenario.expect for cell in cells(loaded.data)}
    assert [name for name, rows in expected.items() if len(rows) == 2] == ["epoll-10"]
    assert all(not row.only for rows in expected.values() for row in rows), "a cell is no series"


def test_a_scenario_without_a_matrix_is_its_own_only_cell(tmp_path: Path) -> None:
    (only,) = cells(load(written(tmp_path, BASE + "repeats: 3\n")).data)
    assert "repeats" not in only.data


def test_a_cell_that_is_no_valid_scenario_names_the_value_and_its_line(tmp_path: Path) -> None:
    found = problems(tmp_path, "matrix:\n  server.model: [epoll, pol, sanic]\n")
    assert found[0].startswith("lab.yaml:8: matrix.server.model[1]: in cell pol: server.model: unknown I/O model")
    assert found[1].startswith("lab.yaml:8: matrix.server.model[2]: in cell sanic: fleet.message.framing: the sanic")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("matrix: {server.modl: [epoll]}\n", "in cell epoll: server.modl: unknown key"),
        ("matrix: {title: [a, b]}\n", "not a key that a matrix may set, got `title`"),
        ("matrix: {'fleet.phases[7].messages': [1]}\n", "there is nothing at `fleet.phases[7].messages` to set"),
        ("matrix: {server.model: []}\n", "no values, got []"),
        ("matrix: {server.model: [epoll, epoll]}\n", "two cells would have the same name, `epoll`"),
        ("matrix: {server.model: [{server.port: 80}]}\n", "does not set `server.model`"),
        ("matrix: {server.model: [epoll]}\nexclude: [{server.model: epoll}]\n", "leaves no cell of the matrix"),
        ("columns: [server.load_cpu]\n", "only a series has it"),
        ("repeats: 2\ncolumns: [server_load]\n", "unknown measure, got 'server_load'"),
        ("repeats: 0\n", "repeats"),
        (
            "matrix: {server.model: [epoll]}\nexpect: [{what: fleet.errors, equal: 0, only: {server.model: pol}}]\n",
            "expect[0].only: no cell of the matrix has these values",
        ),
        (
            "expect: [{what: fleet.errors, equal: 0, only: {server.model: epoll}}]\n",
            "expect[0].only: no cell of the matrix has these values",
        ),
        (
            "matrix: {server.model: [epoll, poll]}\n"
            "compare: [{what: server.load_cpu, of: {server.model: pol}, over: {server.model: epoll}, at_least: 2}]\n",
            "compare[0].of: no cell of the matrix has these values",
        ),
        (
            "matrix: {server.model: [epoll, poll]}\n"
            "compare: [{what: server.load_cpu, of: {server.model: poll}, over: {server.model: epoll}}]\n",
            "nothing to compare with",
        ),
    ],
)
def test_what_makes_no_series_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert any(told in problem for problem in problems(tmp_path, text)), problems(tmp_path, text)


def test_an_override_may_replace_an_axis(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, BASE + MATRIX), ["matrix.server.model=[poll]", "exclude=[]"])
    assert [cell.name for cell in cells(loaded.data)] == ["poll-10", "poll-1k"]
