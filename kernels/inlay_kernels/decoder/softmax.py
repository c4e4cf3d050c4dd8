"""The two passes of a softmax over panels of scores: the highest, and shares of what is below it.

Written in LLVM's language, as `products` is: loops of compiled Python over pieces this short take
longer to begin than to run. Numbers of a query are taken in the same order in any batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from inlay_kernels.decoder.instructions import element_pointer, instruction
from inlay_kernels.decoder.products import (
    FLOATS,
    INTS,
    LANES,
    PANEL,
    BFloat16,
    add_product,
    everywhere,
    load,
)
from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_LOWEST: Final = -126.0
"""Exponents of two below it are taken for it."""
_POLYNOMIAL: Final = (
    1.3276428384865305e-3,
    9.675540985668779e-3,
    5.5507134083859655e-2,
    0.24022119732523092,
    0.6931469669821807,
    1.0000000716520068,
)
"""Of 2 ** r for |r| <= 1/2, the highest power first, within 8e-8 of it: by least squares of the
relative error, with weights that level it out."""


@instruction
def highest_score(  # type: ignore[no-untyped-def]
    typing_context, scores, start, stride, num_panels
):
    """The highest score of num_panels >= 1 panels, which begin at start + panel * stride of a flat
    float32 array; NaN is passed over."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, stride, num_panels = arguments
        first = element_pointer(context, builder, signature.args[0], array, start)

        def higher(panel: Any, tops: Sequence[Any]) -> list[Any]:
            place = builder.gep(first, [builder.mul(panel, stride)])
            return [
                _higher(builder, _half(builder, place, half), top) for half, top in enumerate(tops)
            ]

        tops = _over_panels(builder, num_panels, [_constant(float("-inf"))] * 2, higher)
        return _reduced(builder, _higher(builder, *tops), _higher)

    return types.float32(scores, types.int64, types.int64, types.int64), generate


@instruction
def fill_shares(  # type: ignore[no-untyped-def]
    typing_context, scores, start, stride, num_panels, scale, offset, shares, put_start
):
    """Fill num_panels * PANEL numbers of `shares`, from put_start on, with 2 ** (score * scale -
    offset), for scores as `highest_score` has them; returns the sum of what was filled in, before
    it was rounded.

    shares: flat; float32, or bfloat16 bits (uint16).
    """
    int64, float32 = types.int64, types.float32
    signature = float32(scores, int64, int64, int64, float32, float32, shares, int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, stride, num_panels, scale, offset, put, put_start = arguments
        first = element_pointer(context, builder, signature.args[0], array, start)
        filled = element_pointer(context, builder, signature.args[6], put, put_start)
        factor = everywhere(builder, scale)
        minus_offset = everywhere(builder, builder.fneg(offset))

        def fill(panel: Any, totals: Sequence[Any]) -> list[Any]:
            place = builder.gep(first, [builder.mul(panel, stride)])
            target = builder.gep(filled, [builder.mul(panel, _INT64(PANEL))])
            added = []
            for half, total in enumerate(totals):
                exponent = add_product(builder, minus_offset, _half(builder, place, half), factor)
                share = _power_of_two(builder, exponent)
                _store(builder, share, builder.gep(target, [_INT64(half * LANES)]))
                added.append(builder.fadd(total, share))
            return added

        totals = _over_panels(builder, num_panels, [_constant(0.0)] * 2, fill)
        return _reduced(builder, builder.fadd(*totals), lambda builder, a, b: builder.fadd(a, b))

    return signature, generate


def _over_panels(
    builder: Any,
    num_panels: Any,
    begun: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """What `body`, called with a panel's number and what it made of the one before, makes of the
    last."""
    before = builder.block
    loop, after = builder.append_basic_block("panel"), builder.append_basic_block("panels_done")
    builder.branch(loop)
    builder.position_at_end(loop)
    panel = builder.phi(_INT64)
    held = [builder.phi(FLOATS) for _ in begun]
    made = list(body(panel, held))
    following = builder.add(panel, _INT64(1))
    builder.cbranch(builder.icmp_signed("<", following, num_panels), loop, after)
    for entry, first, last in zip(
        (panel, *held), (_INT64(0), *begun), (following, *made), strict=True
    ):
        entry.add_incoming(first, before)
        entry.add_incoming(last, loop)
    builder.position_at_end(after)
    return made


def _half(builder: Any, panel: Any, half: int) -> Any:
    """One of the two vectors of a panel."""
    return load(builder, builder.gep(panel, [_INT64(half * LANES)]), FLOATS, 4)


def _store(builder: Any, numbers: Any, pointer: Any) -> None:
    """Numbers where a pointer says, in the type that it points to."""
    is_float = isinstance(pointer.type.pointee, ir.FloatType)
    stored = numbers if is_float else _rounded(builder, numbers)
    target = builder.bitcast(pointer, stored.type.as_pointer())
    builder.store(stored, target).align = 4 if is_float else 2


def _rounded(builder: Any, numbers: Any) -> Any:
    """Bits of the nearest bfloat16 of positive numbers, the even one of two."""
    if HAS_BFLOAT16_PRODUCTS:
        kind = ir.FunctionType(ir.VectorType(BFloat16(), LANES), [FLOATS])
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [numbers])
    bits = builder.bitcast(numbers, INTS)
    is_odd = builder.and_(builder.lshr(bits, _ints(16)), _ints(1))
    nearest = builder.add(bits, builder.add(is_odd, _ints(0x7FFF)))
    shifted = builder.lshr(nearest, _ints(16))
    return builder.trunc(shifted, ir.VectorType(ir.IntType(16), LANES))


def _power_of_two(builder: Any, exponents: Any) -> Any:
    """2 ** x within 3 units in the last place for x <= 0; NaN stays NaN."""
    is_low = builder.fcmp_ordered("<", exponents, _constant(_LOWEST))
    exponents = builder.select(is_low, _constant(_LOWEST), exponents)
    whole = _unary(builder, "llvm.rint", exponents)
    rest = builder.fsub(exponents, whole)
    power = _constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        power = add_product(builder, _constant(coefficient), power, rest)
    biased = builder.add(builder.fptosi(whole, INTS), _ints(127))
    return builder.fmul(power, builder.bitcast(builder.shl(biased, _ints(23)), FLOATS))


def _unary(builder: Any, name: str, numbers: Any) -> Any:
    kind = ir.FunctionType(FLOATS, [FLOATS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32")
    return builder.call(function, [numbers])


def _higher(builder: Any, numbers: Any, tops: Any) -> Any:
    """The higher of two in each lane; the second where the first is NaN."""
    return builder.select(builder.fcmp_ordered(">", numbers, tops), numbers, tops)


def _reduced(builder: Any, numbers: Any, join: Callable[[Any, Any, Any], Any]) -> Any:
    """All lanes joined to one number, halves with halves."""
    width = LANES
    while width > 1:
        width //= 2
        low, high = (
            builder.shuffle_vector(
                numbers,
                numbers,
                ir.Constant(ir.VectorType(_INT32, width), list(range(first, first + width))),
            )
            for first in (0, width)
        )
        numbers = join(builder, low, high)
    return builder.extract_element(numbers, _INT32(0))


def _constant(number: float) -> Any:
    return ir.Constant(FLOATS, [number] * LANES)


def _ints(number: int) -> Any:
    return ir.Constant(INTS, [number] * LANES)
