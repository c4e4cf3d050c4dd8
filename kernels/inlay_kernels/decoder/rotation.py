"""Rotation of a head by the angles of its position, its first half with its second."""

from collections.abc import Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.forms import FLOATS, LANES, add_product, load, store_elements
from inlay_kernels.decoder.instructions import element_pointer, instruction, repeat, to_element

_INT64: Final = ir.IntType(64)


@compiled()
def turn(head, half, cosines, sines, turned):  # type: ignore[no-untyped-def]
    """Fill `turned` with a head whose first 2 * half numbers are rotated; the others stay.

    head, cosines, sines: flat float32; 2 * half angles. turned: flat, as long as the head; float32,
    or bfloat16 bits (uint16).
    """
    begun = half - half % LANES
    if begun > 0:
        _turn_vectors(head, cosines, sines, half, turned)
    for d in range(begun, half):
        first, second = head[d], head[half + d]
        turned[d] = to_element(turned, first * cosines[d] - second * sines[d])
        other = second * cosines[half + d] + first * sines[half + d]
        turned[half + d] = to_element(turned, other)
    for d in range(2 * half, len(turned)):
        turned[d] = to_element(turned, head[d])


@instruction
def _turn_vectors(  # type: ignore[no-untyped-def]
    typing_context, head, cosines, sines, half, turned
):
    """The whole vectors of each half, of which there is one at least."""
    signature = types.void(head, cosines, sines, types.int64, turned)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        head, cosines, sines, half, turned = arguments
        sources = [
            element_pointer(context, builder, kind, array, _INT64(0))
            for kind, array in zip(signature.args[:3], (head, cosines, sines), strict=True)
        ]
        target = element_pointer(context, builder, signature.args[4], turned, _INT64(0))

        def turn_vector(number: Any, _: Sequence[Any]) -> list[Any]:
            low = builder.mul(number, _INT64(LANES))
            high = builder.add(low, half)
            (first, second), (cosine, other_cosine), (sine, other_sine) = (
                [load(builder, builder.gep(source, [place]), FLOATS, 4) for place in (low, high)]
                for source in sources
            )
            down = builder.fneg(builder.fmul(second, sine))
            store_elements(
                builder, add_product(builder, down, first, cosine), builder.gep(target, [low])
            )
            up = builder.fmul(first, other_sine)
            store_elements(
                builder, add_product(builder, up, second, other_cosine), builder.gep(target, [high])
            )
            return []

        repeat(builder, builder.udiv(half, _INT64(LANES)), [], turn_vector)
        return context.get_dummy_value()

    return signature, generate
