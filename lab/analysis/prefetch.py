"""Asking memory for a record some time before it is needed.

A loop over packets touches a few records of many connections in turn, which lie in no near cache when their number is
large: each time it waits some hundred cycles. `prefetch` tells the processor to fetch a record's cache line meanwhile;
it changes nothing, and a place where nothing lies does no harm.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

READ, KEEP_IN_ALL_CACHES, DATA = 0, 3, 1  # https://llvm.org/docs/LangRef.html#llvm-prefetch-intrinsic


@intrinsic  # type: ignore[misc, unused-ignore]
def prefetch(typing_context: Any, array: Any, place: Any, byte: Any) -> Any:
    """Fetch the cache line in which byte `byte` of `array[place]` lies, in the background."""
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        made = context.make_array(kind)(context, builder, arguments[0])
        index, offset = (context.cast(builder, arguments[n], signature.args[n], types.intp) for n in (1, 2))
        record = cgutils.get_item_pointer(context, builder, kind, made, [index], wraparound=False)
        bytes_of, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        address = builder.gep(builder.bitcast(record, bytes_of), [offset])
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [bytes_of, number, number, number]), "llvm.prefetch.p0"
        )
        builder.call(function, [address, number(READ), number(KEEP_IN_ALL_CACHES), number(DATA)])
        return context.get_dummy_value()

    return types.void(array, place, byte), emit
