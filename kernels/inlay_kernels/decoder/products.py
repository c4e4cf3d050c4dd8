"""Products of panels of packed numbers with a few rows: the loops that all time is spent in.

A panel holds PANEL outputs of a linear layer, input after input, so that it is read once from its
first byte to its last while all sums stay in registers. The loops are written in LLVM's language,
since only there each sum is known to have a register. A row's sums are formed in the same order
however many rows there are.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from inlay_kernels.decoder.forms import FLOATS, LANES, PANEL, Form, ask, form_of, load, zeros
from inlay_kernels.decoder.instructions import call_apart, element_pointer, instruction, repeat

MAX_ROWS: Final = 12
"""Rows that are computed together: 24 sums, which leaves 8 of 32 registers for the factors."""
_FEW_ROWS: Final = 4
"""Up to so many rows the processor looks far enough ahead in the weights by itself."""
_AHEAD: Final = 2048
"""Bytes by which weights are asked for in advance for more."""
_INT64 = ir.IntType(64)


@instruction
def multiply(  # type: ignore[no-untyped-def]
    typing_context, num_rows, weights, start, size, x, x_start, x_stride, sums, asked
):
    """Fill sums[row * PANEL + output] for num_rows rows in [1, MAX_ROWS] and one panel.

    weights: flat; the panel is at [start, start + size * PANEL), laid out by `packing`. x: flat;
    row r is at x_start + r * x_stride, `size` numbers long. Types of (weights, x): float32 and
    float32; bfloat16 bits or int8 and float32; bfloat16 bits or int8 and bfloat16 bits, for
    processors with such products. asked: the place of half a panel that is asked for meanwhile;
    `start` for none.
    """
    int64 = types.int64
    form = form_of(weights.dtype, x.dtype)
    signature = types.void(int64, weights, int64, int64, x, int64, int64, sums, int64)

    def loops(builder: Any, *arguments: Any) -> None:
        num_rows, panel, size, x, stride, target, asked = arguments
        steps = builder.udiv(size, _INT64(form.inputs))

        def product(count: int) -> None:
            rows = _rows(builder, x, stride, count)
            begun = [zeros()] * 2 * count
            _keep(builder, _summed(builder, form, panel, rows, steps, begun, asked), target)

        _for_each_count(builder, num_rows, product)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        num_rows, weights, start, size, x, x_start, x_stride, sums, asked = arguments
        panel = element_pointer(context, builder, signature.args[1], weights, start)
        first = element_pointer(context, builder, signature.args[4], x, x_start)
        target = element_pointer(context, builder, signature.args[7], sums, _INT64(0))
        later = element_pointer(context, builder, signature.args[1], weights, asked)
        passed = (num_rows, panel, size, first, x_stride, target, later)
        call_apart(builder, f"multiply.{form.name}", passed, loops)
        return context.get_dummy_value()

    return signature, generate


@instruction
def multiply_panels(  # type: ignore[no-untyped-def]
    typing_context, num_rows, weights, starts, num_panels, size, x, x_start, x_stride, sums
):
    """As `multiply`, for num_panels >= 1 panels, of which each begins at its number in `starts`
    (flat int64); sums of a panel are MAX_ROWS * PANEL behind those of the one before."""
    int64 = types.int64
    form = form_of(weights.dtype, x.dtype)
    signature = types.void(int64, weights, starts, int64, int64, x, int64, int64, sums)

    def loops(builder: Any, *arguments: Any) -> None:
        num_rows, base, starts, num_panels, size, x, stride, target = arguments
        steps = builder.udiv(size, _INT64(form.inputs))

        def product(count: int) -> None:
            rows = _rows(builder, x, stride, count)

            def one(number: Any, _: Sequence[Any]) -> list[Any]:
                panel = builder.gep(base, [builder.load(builder.gep(starts, [number]))])
                begun = [zeros()] * 2 * count
                made = _summed(builder, form, panel, rows, steps, begun)
                behind = builder.mul(number, _INT64(MAX_ROWS * PANEL))
                _keep(builder, made, builder.gep(target, [behind]))
                return []

            repeat(builder, num_panels, [], one)

        _for_each_count(builder, num_rows, product)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        num_rows, weights, starts, num_panels, size, x, x_start, x_stride, sums = arguments
        places = element_pointer(context, builder, signature.args[2], starts, _INT64(0))
        base = element_pointer(context, builder, signature.args[1], weights, _INT64(0))
        first = element_pointer(context, builder, signature.args[5], x, x_start)
        target = element_pointer(context, builder, signature.args[8], sums, _INT64(0))
        passed = (num_rows, base, places, num_panels, size, first, x_stride, target)
        call_apart(builder, f"multiply_panels.{form.name}", passed, loops)
        return context.get_dummy_value()

    return signature, generate


@instruction
def add_panels(  # type: ignore[no-untyped-def]
    typing_context, num_rows, weights, starts, offset, num_panels, x, x_start, x_stride, sums
):
    """Add to sums[row * PANEL + output] the products of num_panels >= 1 panels of PANEL inputs
    each: panel p is at starts[p] + offset, row r of its inputs at x_start + r * x_stride +
    p * PANEL."""
    int64 = types.int64
    form = form_of(weights.dtype, x.dtype)
    signature = types.void(int64, weights, starts, int64, int64, x, int64, int64, sums)

    def loops(builder: Any, *arguments: Any) -> None:
        num_rows, base, starts, num_panels, x, stride, target = arguments
        steps = _INT64(PANEL // form.inputs)

        def product(count: int) -> None:
            def one(number: Any, held: Sequence[Any]) -> list[Any]:
                panel = builder.gep(base, [builder.load(builder.gep(starts, [number]))])
                begin = builder.gep(x, [builder.mul(number, _INT64(PANEL))])
                rows = _rows(builder, begin, stride, count)
                return _summed(builder, form, panel, rows, steps, held)

            vectors = _vectors(builder, target, 2 * count)
            begun = [load(builder, vector, FLOATS, 4) for vector in vectors]
            _keep(builder, repeat(builder, num_panels, begun, one), target)

        _for_each_count(builder, num_rows, product)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        num_rows, weights, starts, offset, num_panels, x, x_start, x_stride, sums = arguments
        places = element_pointer(context, builder, signature.args[2], starts, _INT64(0))
        base = element_pointer(context, builder, signature.args[1], weights, offset)
        first = element_pointer(context, builder, signature.args[5], x, x_start)
        target = element_pointer(context, builder, signature.args[8], sums, _INT64(0))
        passed = (num_rows, base, places, num_panels, first, x_stride, target)
        call_apart(builder, f"add_panels.{form.name}", passed, loops)
        return context.get_dummy_value()

    return signature, generate


def _for_each_count(builder: Any, num_rows: Any, product: Callable[[int], None]) -> None:
    """The code of `product` for each number of rows, of which the right one is run."""
    end = builder.append_basic_block("multiplied")
    choice = builder.switch(num_rows, end)
    for count in range(1, MAX_ROWS + 1):
        case = builder.append_basic_block(f"rows{count}")
        choice.add_case(_INT64(count), case)
        builder.position_at_end(case)
        product(count)
        builder.branch(end)
    builder.position_at_end(end)


def _rows(builder: Any, first: Any, stride: Any, count: int) -> list[Any]:
    """Pointers to rows that lie `stride` numbers apart."""
    return [builder.gep(first, [builder.mul(stride, _INT64(row))]) for row in range(count)]


def _summed(
    builder: Any,
    form: Form,
    panel: Any,
    rows: Sequence[Any],
    steps: Any,
    begun: Sequence[Any],
    asked: Any = None,
) -> list[Any]:
    """What is begun, with the products of all steps, of which each reads `form.inputs` inputs of
    every row; two vectors a row. asked: a pointer to half a panel that is asked for."""

    def add(step: Any, sums: Sequence[Any]) -> list[Any]:
        place = builder.mul(step, _INT64(form.inputs * PANEL))
        halves = [
            builder.gep(panel, [builder.add(place, _INT64(offset))])
            for offset in (0, form.inputs * LANES)
        ]
        if len(rows) > _FEW_ROWS:
            for half in halves:
                ask(builder, half, _AHEAD, is_soon=True)
            if asked is not None:
                place = builder.mul(step, _INT64(form.inputs * LANES))
                ask(builder, builder.gep(asked, [place]), 0, is_soon=False)
        factors = [form.read_weights(builder, half) for half in halves]
        made = []
        for number, row in enumerate(rows):  # one after the other, or registers run out
            inputs = form.inputs_of(builder, row, step)
            made += [
                form.add(builder, sums[2 * number + half], inputs, factors[half]) for half in (0, 1)
            ]
        return made

    return repeat(builder, steps, begun, add)


def _vectors(builder: Any, target: Any, count: int) -> list[Any]:
    """Pointers to so many vectors, one behind the other."""
    first = builder.bitcast(target, FLOATS.as_pointer())
    return [builder.gep(first, [_INT64(number)]) for number in range(count)]


def _keep(builder: Any, sums: Sequence[Any], target: Any) -> None:
    """Put vectors one behind the other."""
    for vector, total in zip(_vectors(builder, target, len(sums)), sums, strict=True):
        builder.store(total, vector).align = 4
