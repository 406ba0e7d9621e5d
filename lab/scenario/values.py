"""The right-hand side of an expectation: a number, a number with a unit, or a key of the scenario itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from lab import units
from lab.measures import Unit
from lab.scenario.schema import Scenario


class BadReference(ValueError):
    """The text names no number of this scenario."""


def resolve(value: int | float | str, scenario: Scenario, unit: Unit) -> float:
    """Return the number that `value` stands for, in the measure's unit (ns, bytes, per second, count).

    Raises BadReference (no such key, or not a number), ValueError (a wrong unit).
    """
    if isinstance(value, bool):
        raise BadReference(f"not a number, got {value}")
    if isinstance(value, int | float):
        if unit in ("ns", "bytes") and value != 0:
            raise ValueError(f"a number without a unit, got {value}; e.g. 5ms for a time, 64KiB for a size")
        return value
    if value[:1].isdigit():
        parse = {
            "ns": units.parse_duration_ns,
            "bytes": units.parse_bytes,
            "per_s": units.parse_rate,
        }.get(unit, units.parse_count)
        return parse(value)
    found = _look_up(value, scenario)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadReference(f"`{value}` is not a number of this scenario, got {found!r}; e.g. fleet.connections")
    return found


def _look_up(path: str, scenario: Scenario) -> Any:
    at: Any = scenario
    for part in path.split("."):
        if isinstance(at, BaseModel) and part in type(at).model_fields:
            at = getattr(at, part)
        elif isinstance(at, dict) and part in at:
            at = at[part]
        elif isinstance(at, list) and part.isdigit() and int(part) < len(at):
            at = at[int(part)]
        else:
            raise BadReference(f"no such key in the scenario, got {path!r}; e.g. fleet.connections")
    return at
