"""Single machine instructions that compiled loops need and Numba does not offer."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from inlay_kernels.arrays_in_place import flat_array
from inlay_kernels.processor import IS_X86

_INT32: Final = ir.IntType(32)
_INT64: Final = ir.IntType(64)
_SEQUENTIAL: Final = "seq_cst"


def instruction(generator: Callable[..., Any]) -> Any:
    """A function that generates LLVM's language, for compiled code, whose calls leave its first
    argument, the typing context, out."""
    return intrinsic(generator)


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, place: Any) -> Any:
    """Pointer to an element of a contiguous array, by its place from the first on."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [place])


def call_apart(
    builder: Any, name: str, arguments: Sequence[Any], body: Callable[..., None]
) -> None:
    """Call what `body(builder, *arguments)` generates, as a function of its own: the code around
    it has no say in which numbers get registers.

    name: of the function; it is made once in a module, so the name tells different ones apart.
    """
    function = builder.module.globals.get(name)
    if function is None:
        kinds = [argument.type for argument in arguments]
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        apart = ir.IRBuilder(function.append_basic_block("begin"))
        body(apart, *function.args)
        apart.ret_void()
    builder.call(function, arguments)


def repeat(
    builder: Any,
    count: Any,
    begun: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """What `body` makes, called with the number of a turn in [0, count), for count >= 1, and with
    what it made of the turn before; `begun` in the first."""
    before = builder.block
    loop, after = builder.append_basic_block("turn"), builder.append_basic_block("turned")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(_INT64)
    held = [builder.phi(value.type) for value in begun]
    made = list(body(number, held))
    following = builder.add(number, _INT64(1))
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    for entry, first, last in zip(
        (number, *held), (_INT64(0), *begun), (following, *made), strict=True
    ):
        entry.add_incoming(first, before)
        entry.add_incoming(last, builder.block)
    builder.position_at_end(after)
    return made


@instruction
def fetch_add(typing_context, array, place, amount):  # type: ignore[no-untyped-def]
    """Add to an int64 of a flat array, at once for all threads; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *arguments[:2])
        return builder.atomic_rmw("add", pointer, arguments[2], _SEQUENTIAL)

    return types.int64(array, types.int64, types.int64), generate


@instruction
def load_shared(typing_context, array, place):  # type: ignore[no-untyped-def]
    """An int64 of a flat array as other threads left it; what they wrote before is seen too."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, _SEQUENTIAL, 8)

    return types.int64(array, types.int64), generate


@instruction
def exchange(typing_context, array, place, expected, number):  # type: ignore[no-untyped-def]
    """Put an int64 into a flat array if it still holds the one expected, at once for all threads;
    whether it did."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *arguments[:2])
        done = builder.cmpxchg(pointer, *arguments[2:], _SEQUENTIAL, _SEQUENTIAL)
        return builder.extract_value(done, 1)

    return types.boolean(array, types.int64, types.int64, types.int64), generate


@instruction
def pause(typing_context):  # type: ignore[no-untyped-def]
    """Tell the processor that this thread waits in a loop."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if IS_X86:
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType(), ())
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def give_way(typing_context):  # type: ignore[no-untyped-def]
    """Let another thread have this processor (POSIX sched_yield)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call(builder, "sched_yield", _INT32, ())
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def doze(typing_context, microseconds):  # type: ignore[no-untyped-def]
    """Sleep at least so long (POSIX usleep)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call(builder, "usleep", _INT32, [builder.trunc(arguments[0], _INT32)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _call(builder: Any, name: str, result: Any, arguments: Any) -> None:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@instruction
def array_at(typing_context, address, size, dtype):  # type: ignore[no-untyped-def]
    """The flat array of so many numbers of this type whose first is at an address."""
    array = types.Array(dtype.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = context.get_data_type(dtype.dtype).as_pointer()
        first = builder.inttoptr(arguments[0], pointer)
        return flat_array(context, builder, array, first, arguments[1])

    return array(types.int64, types.int64, dtype), generate


@instruction
def to_element(typing_context, array, number):  # type: ignore[no-untyped-def]
    """A float32 as what an array holds: itself, or the bits of the nearest bfloat16 (uint16)."""
    is_float = isinstance(array.dtype, types.Float)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[1] if is_float else _rounded(builder, arguments[1])

    return array.dtype(array, types.float32), generate


def _rounded(builder: Any, number: Any) -> Any:
    """Bits of the nearest bfloat16, the even one of two; a NaN stays one."""
    bits = builder.bitcast(number, _INT32)
    is_odd = builder.and_(builder.lshr(bits, _INT32(16)), _INT32(1))
    nearest = builder.add(bits, builder.add(is_odd, _INT32(0x7FFF)))
    is_nan = builder.fcmp_unordered("uno", number, number)
    chosen = builder.select(is_nan, _INT32(0x7FC00000), nearest)
    return builder.trunc(builder.lshr(chosen, _INT32(16)), ir.IntType(16))
