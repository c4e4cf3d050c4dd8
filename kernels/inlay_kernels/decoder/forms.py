"""How the numbers of products are read and multiplied: one form for each pair of types.

Written in LLVM's language, which makes vectors of 16 numbers into what the processor has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

LANES: Final = 16
"""Numbers of a vector."""
PANEL: Final = 2 * LANES
"""Outputs that are computed together."""
_INNERMOST: Final = 3
_SECOND: Final = 2
"""LLVM's numbers of caches."""


class BFloat16(ir.types._BaseFloatType):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat16._create_instance()
_INT8, _INT32, _INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS: Final = ir.VectorType(ir.FloatType(), LANES)
INTS: Final = ir.VectorType(_INT32, LANES)
_BYTES: Final = ir.VectorType(_INT8, LANES)
_BFLOATS: Final = ir.VectorType(BFloat16(), 2 * LANES)


@dataclass(frozen=True)
class Form:
    """How the numbers of one pair of types are read and multiplied."""

    name: str
    inputs: int
    """Inputs of a row that one step takes."""
    read_weights: Callable[[Any, Any], Any]
    """From a builder and a pointer: the weights of a step for LANES outputs."""
    inputs_of: Callable[[Any, Any, Any], Any]
    """From a builder, a pointer to a row and the number of a step: its inputs, in every lane."""
    add: Callable[[Any, Any, Any, Any], Any]
    """From a builder, sums, inputs and weights: the new sums."""


def form_of(weights: Any, x: Any) -> Form:
    """The form of weights and inputs of these types, as `products.multiply` has them."""
    name = f"{weights}.{x}"
    is_paired = not isinstance(x, types.Float)
    if isinstance(weights, types.Float):
        return Form(name, 1, _load_floats, _one_float, add_product)
    is_wide = weights.bitwidth == 16
    if is_paired and HAS_BFLOAT16_PRODUCTS:
        read = _load_bfloats if is_wide else _load_bytes_as_bfloats
        return Form(name, 2, read, _pair_of_bfloats, _add_pair_at_once)
    read = _load_widened if is_wide else _load_bytes
    return Form(name, 2, read, _two_numbers(is_paired), _add_pair)


def zeros() -> Any:
    """A vector to begin sums with."""
    return ir.Constant(FLOATS, [0.0] * LANES)


def load(builder: Any, pointer: Any, kind: Any, alignment: int) -> Any:
    """What is at a pointer, as a kind of LLVM's that it need not have been made for."""
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = alignment
    return loaded


def ask(builder: Any, pointer: Any, ahead: int, *, is_soon: bool) -> None:
    """Ask for the line so many bytes ahead of a pointer: into the innermost cache, or the second.

    LLVM does not unroll a loop that asks, since the call counts as one that threads make together
    ("convergent"): with the sums of two steps it would run out of registers.
    """
    place = builder.gep(builder.bitcast(pointer, _INT8.as_pointer()), [_INT64(ahead)])
    kind = ir.FunctionType(ir.VoidType(), [place.type, _INT32, _INT32, _INT32])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    cache = _INT32(_INNERMOST if is_soon else _SECOND)
    builder.call(prefetch, [place, _INT32(0), cache, _INT32(1)], attrs=("convergent",))


def store_elements(builder: Any, numbers: Any, pointer: Any) -> None:
    """Put a vector where a pointer says, in the type that it points to: float32, or the bits of
    the nearest bfloat16 (16 bits)."""
    is_float = isinstance(pointer.type.pointee, ir.FloatType)
    stored = numbers if is_float else _rounded(builder, numbers)
    target = builder.bitcast(pointer, stored.type.as_pointer())
    builder.store(stored, target).align = 4 if is_float else 2


def _rounded(builder: Any, numbers: Any) -> Any:
    """Bits of the nearest bfloat16, the even one of two; a NaN stays one."""
    if HAS_BFLOAT16_PRODUCTS:
        kind = ir.FunctionType(ir.VectorType(BFloat16(), LANES), [FLOATS])
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [numbers])
    bits = builder.bitcast(numbers, INTS)
    is_odd = builder.and_(builder.lshr(bits, ints(16)), ints(1))
    nearest = builder.add(bits, builder.add(is_odd, ints(0x7FFF)))
    is_nan = builder.fcmp_unordered("uno", numbers, numbers)
    chosen = builder.select(is_nan, ints(0x7FC00000), nearest)
    return builder.trunc(builder.lshr(chosen, ints(16)), ir.VectorType(ir.IntType(16), LANES))


def ints(number: int) -> Any:
    """A vector that holds one whole number in each lane."""
    return ir.Constant(INTS, [number] * LANES)


def everywhere(builder: Any, number: Any) -> Any:
    """A vector that holds one number in each lane."""
    vector = ir.VectorType(number.type, LANES)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, _INT32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(INTS, [0] * LANES))


def _load_floats(builder: Any, pointer: Any) -> Any:
    return load(builder, pointer, FLOATS, 4)


def _load_bfloats(builder: Any, pointer: Any) -> Any:
    return builder.bitcast(load(builder, pointer, INTS, 2), _BFLOATS)


def _load_widened(builder: Any, pointer: Any) -> tuple[Any, Any]:
    """Pairs of bfloat16, as floats: the first of each pair, and the second."""
    return _halves(builder, load(builder, pointer, INTS, 2))


def _halves(builder: Any, pairs: Any) -> tuple[Any, Any]:
    shift = ir.Constant(INTS, [16] * LANES)
    upper = ir.Constant(INTS, [0xFFFF0000] * LANES)
    first, second = builder.shl(pairs, shift), builder.and_(pairs, upper)
    return builder.bitcast(first, FLOATS), builder.bitcast(second, FLOATS)


def _load_bytes(builder: Any, pointer: Any) -> tuple[Any, Any]:
    """LANES signed bytes for the first input of a step, then as many for the second; as floats."""
    parts = (pointer, builder.gep(pointer, [_INT64(LANES)]))
    wide = [builder.sext(load(builder, part, _BYTES, 1), INTS) for part in parts]
    return builder.sitofp(wide[0], FLOATS), builder.sitofp(wide[1], FLOATS)


def _load_bytes_as_bfloats(builder: Any, pointer: Any) -> Any:
    """The same as pairs of bfloat16, which hold every signed byte exactly."""
    first, second = (builder.bitcast(part, INTS) for part in _load_bytes(builder, pointer))
    low = builder.lshr(first, ir.Constant(INTS, [16] * LANES))
    return builder.bitcast(builder.or_(low, second), _BFLOATS)


def _one_float(builder: Any, row: Any, step: Any) -> Any:
    return everywhere(builder, builder.load(builder.gep(row, [step])))


def _pair_of_bfloats(builder: Any, row: Any, step: Any) -> Any:
    return builder.bitcast(everywhere(builder, _load_pair(builder, row, step)), _BFLOATS)


def _load_pair(builder: Any, row: Any, step: Any) -> Any:
    return load(builder, builder.gep(row, [builder.mul(step, _INT64(2))]), _INT32, 2)


def _two_numbers(is_paired: bool) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    def from_floats(builder: Any, row: Any, step: Any) -> tuple[Any, Any]:
        place = builder.mul(step, _INT64(2))
        pointers = (builder.gep(row, [place]), builder.gep(row, [builder.add(place, _INT64(1))]))
        first, second = (everywhere(builder, builder.load(pointer)) for pointer in pointers)
        return first, second

    def from_bfloats(builder: Any, row: Any, step: Any) -> tuple[Any, Any]:
        return _halves(builder, everywhere(builder, _load_pair(builder, row, step)))

    return from_bfloats if is_paired else from_floats


def add_product(builder: Any, total: Any, x: Any, weights: Any) -> Any:
    """total + x * weights in each lane, rounded once where the processor can."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    return builder.call(fused, [x, weights, total])


def _add_pair(builder: Any, total: Any, x: tuple[Any, Any], weights: tuple[Any, Any]) -> Any:
    total = add_product(builder, total, x[0], weights[0])
    return add_product(builder, total, x[1], weights[1])


def _add_pair_at_once(builder: Any, total: Any, x: Any, weights: Any) -> Any:
    kind = ir.FunctionType(FLOATS, [FLOATS, _BFLOATS, _BFLOATS])
    name = "llvm.x86.avx512bf16.dpbf16ps.512"
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, name), [total, x, weights]
    )
