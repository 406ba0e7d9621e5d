"""Checked reading of one JSON object: every wrong, missing or unknown key is named, all of them at once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

MISSING = object()


class PlanInvalid(Exception):
    """A plan that cannot be run; `problems` holds one line for each thing wrong in it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Fields:
    """The keys of one JSON object, taken one by one; `problems` is shared by all objects of a plan."""

    def __init__(self, value: Any, where: str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        self._rest: dict[str, Any] = {}
        if isinstance(value, dict):
            self._rest = dict(value)
        else:
            self.wrong("", f"got {value!r}; an object is needed")

    def wrong(self, key: str, what: str) -> None:
        """Note that `key` is wrong (the object itself if empty)."""
        place = ".".join(part for part in (self.where, key) if part)
        self.problems.append(f"{place or 'plan'}: {what}")

    def raw(self, key: str, default: Any = None) -> Any:
        """Take a key that is checked elsewhere."""
        return self._rest.pop(key, default)

    def integer(self, key: str, default: Any = MISSING, *, least: int = 0, most: int = 2**62) -> Any:
        """Take a whole number in [least, most]; `10e9` counts as whole. None only where it is the default."""
        return self._number(key, default, least, most, whole=True)

    def number(self, key: str, default: Any = MISSING, *, least: float = 0.0, most: float = 1e12) -> Any:
        """Take a number in [least, most]. None only where it is the default."""
        return self._number(key, default, least, most, whole=False)

    def _number(self, key: str, default: Any, least: float, most: float, *, whole: bool) -> Any:
        value = self._rest.pop(key, default)
        if value is MISSING:
            self.wrong(key, "missing; a number is needed")
            return least
        if value is None and default is None:
            return None
        kind = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
            self.wrong(key, f"got {value!r}; {kind} is needed")
            return least
        if not least <= value <= most:
            self.wrong(key, f"got {value!r}; allowed: {least} to {most}")
            return least
        return int(value) if whole else value

    def text(self, key: str, default: Any = MISSING, *, choices: Collection[str] | None = None) -> Any:
        """Take a text, one of `choices` where given. None only where it is the default."""
        value = self._rest.pop(key, default)
        if value is None and default is None:
            return None
        if value is MISSING or not isinstance(value, str) or (choices is not None and value not in choices):
            allowed = ", ".join(sorted(choices)) if choices is not None else "a text"
            self.wrong(key, f"{'missing' if value is MISSING else f'got {value!r}'}; allowed: {allowed}")
            return "" if default is MISSING else default
        return value

    def rows(self, key: str, default: Any = MISSING) -> list[Any]:
        """Take a list."""
        value = self._rest.pop(key, default)
        if not isinstance(value, list):
            self.wrong(key, "missing; a list is needed" if value is MISSING else f"got {value!r}; a list is needed")
            return []
        return value

    def object(self, key: str) -> Fields:
        """Take an object within this one; one left out is the empty one."""
        return Fields(self._rest.pop(key, {}), ".".join(part for part in (self.where, key) if part), self.problems)

    def each(self, key: str, read: Callable[[Fields], Any], default: Any = MISSING) -> list[Any]:
        """Take a list of objects, each read by `read`."""
        place = ".".join(part for part in (self.where, key) if part)
        return [read(Fields(row, f"{place}[{i}]", self.problems)) for i, row in enumerate(self.rows(key, default))]

    def end(self, allowed: str) -> None:
        """Refuse the keys nobody took."""
        for key in self._rest:
            self.wrong(key, f"unknown key; allowed here: {allowed}")
