"""The two passes of a softmax over panels of scores: the highest, and shares of what is below it.

Written in LLVM's language, as `products` is: loops of compiled Python over pieces this short take
longer to begin than to run. Numbers of a query are taken in the same order in any batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from inlay_kernels.decoder.forms import (
    FLOATS,
    INTS,
    LANES,
    PANEL,
    add_product,
    everywhere,
    ints,
    load,
    store_elements,
)
from inlay_kernels.decoder.instructions import element_pointer, instruction, repeat

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
_SHORT_POLYNOMIAL: Final = (
    5.5171646645466046e-2,
    0.24261114131577538,
    0.6932609914070146,
    0.9999280725246321,
)
"""The same within 8e-5, for shares that are rounded to 4e-3."""


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

        tops = repeat(builder, num_panels, [_constant(float("-inf"))] * 2, higher)
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
        is_short = not isinstance(signature.args[6].dtype, types.Float)
        polynomial = _SHORT_POLYNOMIAL if is_short else _POLYNOMIAL
        factor = everywhere(builder, scale)
        minus_offset = everywhere(builder, builder.fneg(offset))

        def fill(panel: Any, totals: Sequence[Any]) -> list[Any]:
            place = builder.gep(first, [builder.mul(panel, stride)])
            target = builder.gep(filled, [builder.mul(panel, _INT64(PANEL))])
            added = []
            for half, total in enumerate(totals):
                exponent = add_product(builder, minus_offset, _half(builder, place, half), factor)
                share = _power_of_two(builder, exponent, polynomial)
                store_elements(builder, share, builder.gep(target, [_INT64(half * LANES)]))
                added.append(builder.fadd(total, share))
            return added

        totals = repeat(builder, num_panels, [_constant(0.0)] * 2, fill)
        return _reduced(builder, builder.fadd(*totals), lambda builder, a, b: builder.fadd(a, b))

    return signature, generate


def _half(builder: Any, panel: Any, half: int) -> Any:
    """One of the two vectors of a panel."""
    return load(builder, builder.gep(panel, [_INT64(half * LANES)]), FLOATS, 4)


def _power_of_two(builder: Any, exponents: Any, polynomial: Sequence[float]) -> Any:
    """2 ** x for x <= 0 by a polynomial of 2 ** r; NaN stays NaN."""
    is_low = builder.fcmp_ordered("<", exponents, _constant(_LOWEST))
    exponents = builder.select(is_low, _constant(_LOWEST), exponents)
    whole = _rounded_to_whole(builder, exponents)
    rest = builder.fsub(exponents, whole)
    power = _constant(polynomial[0])
    for coefficient in polynomial[1:]:
        power = add_product(builder, _constant(coefficient), power, rest)
    biased = builder.add(builder.fptosi(whole, INTS), ints(127))
    return builder.fmul(power, builder.bitcast(builder.shl(biased, ints(23)), FLOATS))


def _rounded_to_whole(builder: Any, numbers: Any) -> Any:
    kind = ir.FunctionType(FLOATS, [FLOATS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.rint.v{LANES}f32")
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
