"""Rotation of heads by the angles of a position, their first half with their second."""

from collections.abc import Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.forms import FLOATS, LANES, add_product, load, store_elements
from inlay_kernels.decoder.instructions import element_pointer, instruction, repeat, to_element

_INT64: Final = ir.IntType(64)


@compiled()
def turn(heads, size, half, cosines, sines, turned, stride):  # type: ignore[no-untyped-def]
    """Fill `turned` with heads whose first 2 * half numbers are rotated; the others stay.

    heads: flat float32, of `size` numbers each. cosines, sines: flat float32; 2 * half angles.
    turned: flat, the heads `stride` numbers apart; float32, or bfloat16 bits (uint16).
    """
    num_heads = len(heads) // size
    begun = half - half % LANES
    if begun > 0:
        _turn_vectors(heads, num_heads, size, half, cosines, sines, turned, stride)
    if 2 * begun == size:
        return
    for number in range(num_heads):
        head, filled = heads[number * size :][:size], turned[number * stride :][:size]
        for d in range(begun, half):
            first, second = head[d], head[half + d]
            filled[d] = to_element(turned, first * cosines[d] - second * sines[d])
            other = second * cosines[half + d] + first * sines[half + d]
            filled[half + d] = to_element(turned, other)
        for d in range(2 * half, size):
            filled[d] = to_element(turned, head[d])


@instruction
def _turn_vectors(  # type: ignore[no-untyped-def]
    typing_context, heads, num_heads, size, half, cosines, sines, turned, stride
):
    """The whole vectors of each half, of which there is one at least, of one head or more."""
    int64 = types.int64
    signature = types.void(heads, int64, int64, int64, cosines, sines, turned, int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, num_heads, size, half, _, _, _, stride = arguments
        source, cosines, sines, target = (
            element_pointer(context, builder, signature.args[place], arguments[place], _INT64(0))
            for place in (0, 4, 5, 6)
        )

        def turn_vector(number: Any, _: Sequence[Any]) -> list[Any]:
            low = builder.mul(number, _INT64(LANES))
            places = (low, builder.add(low, half))
            angles = [(_vector(builder, cosines, at), _vector(builder, sines, at)) for at in places]

            def turn_head(head: Any, _: Sequence[Any]) -> list[Any]:
                own = builder.gep(source, [builder.mul(head, size)])
                filled = builder.gep(target, [builder.mul(head, stride)])
                pair = [_vector(builder, own, at) for at in places]
                for place, made in zip(places, _rotated(builder, *pair, *angles), strict=True):
                    store_elements(builder, made, builder.gep(filled, [place]))
                return []

            repeat(builder, num_heads, [], turn_head)
            return []

        repeat(builder, builder.udiv(half, _INT64(LANES)), [], turn_vector)
        return context.get_dummy_value()

    return signature, generate


def _vector(builder: Any, pointer: Any, place: Any) -> Any:
    return load(builder, builder.gep(pointer, [place]), FLOATS, 4)


def _rotated(
    builder: Any, first: Any, second: Any, angles: tuple[Any, Any], other_angles: tuple[Any, Any]
) -> tuple[Any, Any]:
    """Numbers of the first half and of the second, turned by their (cosines, sines)."""
    (cosines, sines), (other_cosines, other_sines) = angles, other_angles
    down = builder.fneg(builder.fmul(second, sines))
    up = builder.fmul(first, other_sines)
    return (
        add_product(builder, down, first, cosines),
        add_product(builder, up, second, other_cosines),
    )
