"""Ask the processor for an array's entry before it is read, inside numba's loops.

Reads all over a large array wait for memory, one after the other, unless they are announced.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

ir = vars(cgutils)["ir"]  # llvmlite's, of the version that this numba works with


def _prefetch(_typing: Any, array: Any, place: Any) -> Any:  # noqa: ANN401 - numba's types
    """Type the call, and say how to write its code."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:  # noqa: ANN401
        start = context.make_array(array)(context, builder, args[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        address = builder.bitcast(builder.gep(start, [args[1]]), byte)
        builder.call(call, [address, word(0), word(3), word(1)])  # to read, soon, as data
        return context.get_dummy_value()

    return types.void(array, place), emit


prefetch: Any = intrinsic(_prefetch)
"""prefetch(array, place): no effect but on time; a place outside the array is harmless.

array: one axis, contiguous. place: int64.
"""
