"""The compiled loops as plain Python: slow, exact, and with nothing to compile when a rule in them is changed.

A kernel reads and writes fields of records (`side.end`), which numpy's own records cannot do for names that mean
something else to numpy (`base`, `flags`). Here each array of records is seen through one that can.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


class Record:
    """One record of an array; its fields are attributes, and numbers in them Python's."""

    def __init__(self, fields: dict[str, Any], place: int) -> None:
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_place", place)

    def __getattr__(self, name: str) -> Any:
        value = self._fields[name][self._place]
        return value if isinstance(value, np.ndarray) else value.item()

    def __setattr__(self, name: str, value: Any) -> None:
        column = self._fields[name]
        bits = 8 * column.dtype.itemsize
        value = int(value) & ((1 << bits) - 1)  # as machine code does: what does not fit is cut
        if column.dtype.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
        column[self._place] = value


class Records:
    """An array of records."""

    def __init__(self, array: Any) -> None:
        self._fields = {name: array[name] for name in array.dtype.names}
        self.size = array.size

    def __getitem__(self, place: Any) -> Record:
        return Record(self._fields, int(place))

    def __setitem__(self, place: Any, record: Any) -> None:
        for name, column in self._fields.items():
            column[int(place)] = record[name]


def _seen(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.names:
        return Records(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
        return memoryview(value)  # its items are Python's numbers, which do not overflow
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_seen(part) for part in value))
    return value


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand for `lab.analysis.compiled.kernel`."""

    @functools.wraps(function)
    def interpreted(*arguments: Any) -> Any:
        return function(*(_seen(argument) for argument in arguments))

    return interpreted


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand for `lab.analysis.compiled.inlined`."""
    return function


def prefetch(array: Any, place: Any, byte: Any) -> None:
    """Stand for `lab.analysis.prefetch.prefetch`, which changes nothing."""
    del array, place, byte
