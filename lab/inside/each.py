"""The same system call on many descriptors, one after the other, with no bytecode in between.

A loop in Python runs some dozens of bytecodes around a read(2) that takes a few microseconds, and the kernel has driven
the interpreter's code out of the processor's caches each time it comes back to them. `map` calls the function from C,
and `list.extend` takes what it gives: what runs between two calls is little, and always the same.

What makes it safe is that a `map` may be asked on after an error: it has moved on to the next descriptor, and the list
keeps what it had taken before. So one broken connection costs the others nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


def each(calls: Iterator[Any], descriptors: list[int], failed: Callable[[int, OSError], Any]) -> list[Any]:
    """What `calls`, a `map` over the descriptors, gives; for a call that raises an OSError what
    `failed(descriptor, error)` gives."""
    results: list[Any] = []
    while True:
        try:
            results.extend(calls)
        except OSError as error:
            results.append(failed(descriptors[len(results)], error))
        else:
            return results
