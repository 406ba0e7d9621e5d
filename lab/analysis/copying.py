"""Copying bytes inside compiled loops by the C library's memcpy.

A loop over bytes or words, written out, becomes vector code with a head and a tail for every alignment; for the 66 to
128 bytes of a snapped packet these cost more than the copy. memcpy moves so few bytes by a few overlapping loads, at
any alignment.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic


def _copy_bytes(typing_context: Any, target: Any, at: Any, source: Any, start: Any, size: Any) -> Any:
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(array: int, place: int) -> Any:
            kind = signature.args[array]
            made = context.make_array(kind)(context, builder, arguments[array])
            return cgutils.get_item_pointer(context, builder, kind, made, [number(place)], wraparound=False)

        def number(n: int) -> Any:
            return context.cast(builder, arguments[n], signature.args[n], types.intp)

        cgutils.raw_memcpy(builder, address(0, 1), address(2, 3), number(4), 1)
        return context.get_dummy_value()

    return types.void(target, at, source, start, size), emit


copy_bytes: Any = intrinsic(_copy_bytes)
"""`copy_bytes(target, at, source, start, size)`: so many bytes of one array of bytes into another, from `start` in the
one to `at` in the other. Both must have them: nothing checks it."""
