"""What contradicts what in a series: cells that are no valid scenarios, comparisons of nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lab import measures
from lab.scenario.check_script import Contradiction
from lab.scenario.matrix import Cell, chosen
from lab.scenario.schema import Scenario


def matrix_contradictions(scenario: Scenario, cells: list[Cell]) -> Iterator[Contradiction]:
    """Yield every contradiction of the keys that make a scenario a series."""
    series = bool(scenario.matrix) or scenario.repeats > 1
    for axis, values in scenario.matrix.items():
        if not values:
            yield Contradiction(path=("matrix", axis), what="no values, got []; at least one")
    for key in ("exclude", "columns", "compare"):
        if getattr(scenario, key) and not series:
            what = "only a series has it: there is neither `matrix` nor `repeats`"
            yield Contradiction(path=(key,), what=what)
    names = [cell.name for cell in cells]
    for cell in cells:
        if names.count(cell.name) > 1 and cell is cells[names.index(cell.name)]:
            what = f"two cells would have the same name, `{cell.name}`; values of an axis must differ"
            yield Contradiction(path=cell.places[-1] if cell.places else ("matrix",), what=what)
    if scenario.matrix and not cells:
        yield Contradiction(path=("exclude",), what="leaves no cell of the matrix")
    for index, column in enumerate(scenario.columns):
        if measures.find(column) is None:
            yield Contradiction(path=("columns", index), what=f"unknown measure, got {column!r}; `lab show --measures`")
    for index, expectation in enumerate(scenario.expect):
        if expectation.only and not chosen(cells, expectation.only):
            what = f"no cell of the matrix has these values, got {expectation.only}; as the matrix writes them"
            yield Contradiction(path=("expect", index, "only"), what=what)
    for index, comparison in enumerate(scenario.compare):
        path = ("compare", index)
        if measures.find(comparison.what) is None:
            what = f"unknown measure, got {comparison.what!r}; `lab show --measures`"
            yield Contradiction(path=(*path, "what"), what=what)
        if comparison.at_least is None and comparison.at_most is None:
            yield Contradiction(path=path, what="nothing to compare with; give `at_least` or `at_most`")
        for key, some in (("of", comparison.of), ("over", comparison.over)):
            if not chosen(cells, some):
                what = f"no cell of the matrix has these values, got {some}; as the matrix writes them"
                yield Contradiction(path=(*path, key), what=what)
