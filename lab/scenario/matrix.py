"""One scenario, many cells: every combination of the values in `matrix`, each a scenario of its own.

    matrix:
      server.model: [poll, epoll, {server.model: sanic, fleet.message.framing: http}]
      fleet.connections: [100, 10k]
    exclude:
      - {server.model: sanic, fleet.connections: 10k}

    expect:
      - {what: fleet.received, equal: 500, only: {server.model: epoll}}

gives five cells: poll-100, poll-10k, epoll-100, epoll-10k, sanic-100. A value that is a mapping sets several keys at
once and is named by the one that the axis is called after. What is expected with `only` is expected of the cells that
have those values. Pure: plain data in, plain data out.
"""

from __future__ import annotations

import copy
import itertools
import re
from dataclasses import dataclass
from typing import Any

from lab.scenario.yaml_positions import Path

SERIES_KEYS = ("matrix", "exclude", "repeats", "columns", "compare")
"""Keys that say how a scenario becomes a series; a cell has none of them."""
VARIABLE = ("server", "fleet", "hosts", "networks", "seed")
"""Where a matrix may vary a scenario: what it builds and drives, never what it expects."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination."""

    name: str
    """As a folder is named: `poll-10k`."""
    values: dict[str, Any]
    """Key to value, as the matrix gives them."""
    axes: dict[str, str]
    """Axis to the text of its value: what tables are headed with."""
    places: tuple[Path, ...]
    """Where in the file its values stand."""
    data: dict[str, Any]
    """The scenario's YAML with those values, and without the keys of a series."""


class BadKey(ValueError):
    """A key that the matrix cannot set; `place` is where in the file it stands."""

    def __init__(self, place: Path, what: str) -> None:
        super().__init__(what)
        self.place = place


def parse_path(text: str) -> Path:
    """`fleet.phases[2].duration` -> ("fleet", "phases", 2, "duration"); also `fleet.phases.2`.

    A sysctl's name has dots of its own, and so have the keys of `matrix`: everything after them is one key.
    """
    if text.startswith("matrix."):
        return ("matrix", text.removeprefix("matrix."))
    head, sysctls, name = text.partition(".sysctls.")
    parts: list[str | int] = [int(p) if p.isdigit() else p for p in re.findall(r"[^.\[\]]+", head)]
    return (*parts, "sysctls", name) if sysctls else tuple(parts)


def cells(data: dict[str, Any]) -> list[Cell]:
    """Return the cells of a scenario's YAML in the matrix's order; one without a name for a scenario without a matrix.

    Raises BadKey for a key that the matrix cannot set.
    """
    base = {key: value for key, value in data.items() if key not in SERIES_KEYS}
    axes = data.get("matrix") or {}
    left_out = data.get("exclude") or []
    found = []
    for choice in itertools.product(*(list(enumerate(values)) for values in axes.values())):
        cell = _cell(base, list(zip(axes, choice, strict=True)))
        if not any(_matches(cell.values, some) for some in left_out):
            found.append(cell)
    return found


def _cell(base: dict[str, Any], chosen: list[tuple[str, tuple[int, Any]]]) -> Cell:
    data = copy.deepcopy(base)
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    places: list[Path] = []
    for axis, (index, value) in chosen:
        place: Path = ("matrix", axis, index)
        places.append(place)
        keys = value if isinstance(value, dict) else {axis: value}
        if axis not in keys:
            raise BadKey(place, f"does not set `{axis}`, the key that its axis is named after, got {keys}")
        texts[axis] = str(keys[axis])
        for key, one in keys.items():
            _put(data, key, one, place)
            values[key] = one
    if isinstance(data.get("expect"), list):
        data["expect"] = [mine for one in data["expect"] if (mine := _for_cell(one, values)) is not None]
    name = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") for text in texts.values())
    return Cell(name=name or "all", values=values, axes=texts, places=tuple(places), data=data)


def _for_cell(expectation: Any, values: dict[str, Any]) -> Any:
    """An expectation as a cell has it, without `only`; None where it is for others."""
    if not isinstance(expectation, dict) or not isinstance(expectation.get("only"), dict):
        return expectation
    if not _matches(values, expectation["only"]):
        return None
    return {key: value for key, value in expectation.items() if key != "only"}


def _put(data: dict[str, Any], key: str, value: Any, place: Path) -> None:
    """Set one key. Raises BadKey where there is nothing to set it in."""
    path = parse_path(key)
    if not path or path[0] not in VARIABLE:
        raise BadKey(place, f"not a key that a matrix may set, got `{key}`; one below {', '.join(VARIABLE)}")
    at: Any = data
    for part in path[:-1]:
        if isinstance(at, dict) and isinstance(part, str):
            at = at.setdefault(part, {})
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at = at[part]
        else:
            at = None
    last = path[-1]
    in_mapping = isinstance(at, dict) and isinstance(last, str)
    in_list = isinstance(at, list) and isinstance(last, int) and last < len(at)
    if not in_mapping and not in_list:
        raise BadKey(place, f"there is nothing at `{key}` to set")
    at[last] = value


def _matches(values: dict[str, Any], some: dict[str, Any]) -> bool:
    """Whether a cell has all these values; `10k` and 10000 are two texts, as written."""
    return all(str(values.get(key)) == str(value) for key, value in some.items())


def chosen(all_cells: list[Cell], some: dict[str, Any]) -> list[Cell]:
    """Return the cells that have all these values."""
    return [cell for cell in all_cells if _matches(cell.values, some)]
