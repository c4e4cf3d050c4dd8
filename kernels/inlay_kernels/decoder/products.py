"""Products of a panel of packed weights with a few rows: the loop that all time is spent in.

A panel holds PANEL outputs of a linear layer, input after input, so that it is read once from its
first byte to its last while all sums stay in registers. It is written in LLVM's language, since
only there each sum is known to have a register; LLVM makes vectors of 16 numbers into what the
processor has. A row's sums are formed in the same order however many rows there are.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from inlay_kernels.decoder.instructions import instruction
from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

LANES: Final = 16
"""Numbers of a vector."""
PANEL: Final = 2 * LANES
"""Outputs that are computed together."""
MAX_ROWS: Final = 12
"""Rows that are computed together: 24 sums, which leaves 8 of 32 registers for the factors."""
_FEW_ROWS: Final = 8
"""Up to so many rows the processor looks far enough ahead in the weights by itself."""
_AHEAD: Final = 2048
"""Bytes by which weights are asked for in advance where it does not."""


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


@instruction
def multiply(  # type: ignore[no-untyped-def]
    typing_context, num_rows, weights, start, size, x, x_start, x_stride, sums
):
    """Fill sums[row * PANEL + output] for num_rows rows in [1, MAX_ROWS] and one panel.

    weights: flat; the panel is at [start, start + size * PANEL), laid out by `packing`. x: flat;
    row r is at x_start + r * x_stride, `size` numbers long. Types of (weights, x): float32 and
    float32; bfloat16 bits or int8 and float32; bfloat16 bits or int8 and bfloat16 bits, for
    processors with such products.
    """
    return _product(weights, x, sums, is_adding=False)


@instruction
def add_multiplied(  # type: ignore[no-untyped-def]
    typing_context, num_rows, weights, start, size, x, x_start, x_stride, sums
):
    """As `multiply`, added to what `sums` holds."""
    return _product(weights, x, sums, is_adding=True)


def _product(weights: Any, x: Any, sums: Any, *, is_adding: bool) -> Any:
    """Signature and generator of a product of one panel."""
    int64 = types.int64
    form = _form(weights.dtype, x.dtype)
    signature = types.void(int64, weights, int64, int64, x, int64, int64, sums)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        num_rows, weights, start, size, x, x_start, x_stride, sums = arguments

        def at(index: int, array: Any, place: Any) -> Any:
            made = context.make_array(signature.args[index])(context, builder, array)
            return builder.gep(made.data, [place])

        panel = at(1, weights, start)
        first = at(4, x, x_start)
        output = builder.bitcast(at(7, sums, _INT64(0)), FLOATS.as_pointer())
        steps = builder.udiv(size, _INT64(form.inputs))
        _switch(builder, form, num_rows, panel, first, x_stride, steps, output, is_adding)
        return context.get_dummy_value()

    return signature, generate


def _switch(
    builder: Any,
    form: Any,
    num_rows: Any,
    panel: Any,
    x: Any,
    stride: Any,
    steps: Any,
    output: Any,
    is_adding: bool,
) -> None:
    """One loop for each number of rows."""
    end = builder.append_basic_block("multiplied")
    choice = builder.switch(num_rows, end)
    for count in range(1, MAX_ROWS + 1):
        case = builder.append_basic_block(f"rows{count}")
        choice.add_case(_INT64(count), case)
        builder.position_at_end(case)
        rows = [builder.gep(x, [builder.mul(stride, _INT64(row))]) for row in range(count)]
        _loop(builder, form, panel, rows, steps, output, is_adding)
        builder.branch(end)
    builder.position_at_end(end)


def _loop(
    builder: Any,
    form: Any,
    panel: Any,
    rows: Sequence[Any],
    steps: Any,
    output: Any,
    is_adding: bool,
) -> None:
    """Sums over all steps, of which each reads `form.inputs` inputs of every row."""
    before = builder.block
    held = [builder.gep(output, [_INT64(number)]) for number in range(2 * len(rows))]
    begun = [load(builder, part, FLOATS, 4) if is_adding else _zeros() for part in held]
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_INT64)
    step.add_incoming(_INT64(0), before)
    sums = [builder.phi(FLOATS) for _ in range(2 * len(rows))]
    for entry, number in zip(sums, begun, strict=True):
        entry.add_incoming(number, before)
    place = builder.mul(step, _INT64(form.inputs * PANEL))
    is_asking = len(rows) > _FEW_ROWS
    factors = [
        form.weights(builder, builder.gep(panel, [builder.add(place, _INT64(offset))]), is_asking)
        for offset in (0, form.inputs * LANES)
    ]
    added = []
    for number, row in enumerate(rows):
        inputs = form.inputs_of(builder, row, step)
        added += [
            form.add(builder, sums[2 * number + half], inputs, factors[half]) for half in (0, 1)
        ]
    following = builder.add(step, _INT64(1))
    step.add_incoming(following, loop)
    for entry, total in zip(sums, added, strict=True):
        entry.add_incoming(total, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, steps), loop, after)
    builder.position_at_end(after)
    for part, total in zip(held, added, strict=True):
        builder.store(total, part).align = 4


class _Form:
    """How one pair of types is read and multiplied."""

    def __init__(
        self,
        inputs: int,
        weights: Callable[[Any, Any], Any],
        inputs_of: Callable[[Any, Any, Any], Any],
        add: Callable[[Any, Any, Any, Any], Any],
        num_bytes: int,
    ) -> None:
        self.inputs = inputs
        self.inputs_of = inputs_of
        self.add = add
        self._weights = weights
        self._num_bytes = num_bytes

    def weights(self, builder: Any, pointer: Any, is_asking: bool) -> Any:
        """The weights of one step for LANES outputs."""
        if is_asking:
            _ask(builder, pointer)
        return self._weights(builder, pointer)


def _form(weights: Any, x: Any) -> _Form:
    is_paired = not isinstance(x, types.Float)
    if isinstance(weights, types.Float):
        return _Form(1, _load_floats, _one_float, add_product, 4)
    if weights.bitwidth == 16:
        if is_paired and HAS_BFLOAT16_PRODUCTS:
            return _Form(2, _load_bfloats, _pair_of_bfloats, _add_pair_at_once, 2)
        return _Form(2, _load_widened, _two_numbers(is_paired), _add_pair, 2)
    if is_paired and HAS_BFLOAT16_PRODUCTS:
        return _Form(2, _load_bytes_as_bfloats, _pair_of_bfloats, _add_pair_at_once, 1)
    return _Form(2, _load_bytes, _two_numbers(is_paired), _add_pair, 1)


def _zeros() -> Any:
    return ir.Constant(FLOATS, [0.0] * LANES)


def load(builder: Any, pointer: Any, kind: Any, alignment: int) -> Any:
    """What is at a pointer, as a kind of LLVM's that it need not have been made for."""
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = alignment
    return loaded


def _ask(builder: Any, pointer: Any) -> None:
    """Ask for the bytes _AHEAD of a pointer."""
    ahead = builder.gep(builder.bitcast(pointer, _INT8.as_pointer()), [_INT64(_AHEAD)])
    kind = ir.FunctionType(ir.VoidType(), [ahead.type, _INT32, _INT32, _INT32])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(prefetch, [ahead, _INT32(0), _INT32(3), _INT32(1)])


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
