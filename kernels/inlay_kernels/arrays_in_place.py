"""Arrays of compiled code over memory that is there already, or on the stack."""

from typing import Any, Final

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_LINE: Final = 64
"""Bytes of a cache line."""


def _stack_array(typing_context: Any, size: Any, dtype: Any) -> Any:
    array = types.Array(dtype.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        room = builder.alloca(context.get_data_type(dtype.dtype), size=arguments[0])
        room.align = _LINE
        return flat_array(context, builder, array, room, arguments[0])

    return array(types.int64, dtype), generate


stack_array: Any = intrinsic(_stack_array)
"""A flat array of a size and a type, of any numbers, that ends with the function that asks for it:
for what is too small to be worth an allocation. Not to be asked for in a loop."""


def flat_array(context: Any, builder: Any, kind: Any, first: Any, size: Any) -> Any:
    """An array over what is at a pointer, which nobody frees with it."""
    array = context.make_array(kind)(context, builder)
    step = context.get_constant(types.intp, context.get_abi_sizeof(first.type.pointee))
    shape, strides = (cgutils.pack_array(builder, [entry]) for entry in (size, step))
    populate_array(array, first, shape, strides, step, None)
    return array._getvalue()
