"""The four linear layers of a decoder layer, each with what stands before and behind it."""

import numpy as np

from inlay_kernels.compiled import compiled, exponential
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.forms import LANES, PANEL
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.decoder.products import MAX_ROWS, multiply

_EVEN_ROWS = MAX_ROWS * 3 // 2
"""Up to so many rows are taken in two even halves. Where more are left, MAX_ROWS are taken: tiles
of one or two rows less take as long or longer."""

_BLOCK = 8 * MAX_ROWS
"""Tokens of a block, at least: so many multiplications for each weight hide that it is read."""


@compiled()
def tile_size(num_tokens, first):  # type: ignore[no-untyped-def]
    """How many of the rows from `first` on to take together."""
    num_left = num_tokens - first
    if num_left > _EVEN_ROWS:
        return MAX_ROWS
    return num_left if num_left <= MAX_ROWS else (num_left + 1) // 2


@compiled()
def count_blocks(num_tokens, num_threads):  # type: ignore[no-untyped-def]
    """How many blocks of tokens there are: one for each thread, where tokens are enough, so that a
    thread finds what it made itself in the phase before, and not in another's cache."""
    return max(1, min(num_threads, num_tokens // _BLOCK))


@compiled()
def block_and_panel(task, num_panels):  # type: ignore[no-untyped-def]
    """What a task is about. The panel is no less than 0, which LLVM sees only so: what it indexes
    could be no vector otherwise."""
    block = task // num_panels
    return block, max(task - block * num_panels, 0)


@compiled()
def token_block(num_tokens, num_blocks, block):  # type: ignore[no-untyped-def]
    """The tokens [first, stop) of a block; no less than 0, as above."""
    first = block * num_tokens // num_blocks // MAX_ROWS * MAX_ROWS
    stop = (block + 1) * num_tokens // num_blocks // MAX_ROWS * MAX_ROWS
    return max(first, 0), num_tokens if block + 1 == num_blocks else stop


@compiled()
def asked_half(place, size, begin, first, stop):  # type: ignore[no-untyped-def]
    """What to ask for while the tile from row `first` on of rows [begin, stop) is multiplied by the
    panel at `place`, of `size` inputs: halves of the panel behind it, in the first two tiles. So
    memory is read all the time, and not for the first tile alone. A single tile asks for nothing.
    """
    second = begin + tile_size(stop, begin)
    half = size * LANES
    if second == stop or first > second:
        return place
    return place + (2 if first == begin else 3) * half


@compiled()
def inverse_norms(squares, first, stop, size, epsilon, inverse):  # type: ignore[no-untyped-def]
    """inverse[t] = 1 / sqrt(mean square of the hidden states of token t + epsilon), for tokens t in
    [first, stop)."""
    for token in range(first, stop):
        total = np.float32(0)
        for panel in range(squares.shape[1]):
            total += squares[token, panel]
        inverse[token] = np.float32(1) / np.sqrt(total / np.float32(size) + epsilon)


@compiled()
def query_key_value(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, buffers, inverse, sums
):
    """Norm, then queries, keys and values in one."""
    x, output = buffers.x.reshape(-1), buffers.qkv
    stride, num_tokens = buffers.x.shape[1], len(output)
    size = shape.hidden_size + shape.hidden_size % 2
    start = layer * weights.starts[4] + weights.starts[0]
    scales, biases = weights.scales[layer], weights.biases[layer]
    normed = -1  # the block
    num_panels, num_done = output.shape[1] // PANEL, 0
    num_blocks = count_blocks(num_tokens, num_threads)
    num_tasks = num_panels * num_blocks
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        block, panel = block_and_panel(task, num_panels)
        begin, stop = token_block(num_tokens, num_blocks, block)
        if block != normed:
            inverse_norms(buffers.squares, begin, stop, shape.hidden_size, shape.epsilon, inverse)
            normed = block
        first = begin
        place = start + panel * PANEL * size
        while first < stop:
            count = tile_size(stop, first)
            asked = asked_half(place, size, begin, first, stop)
            multiply(count, weights.packed, place, size, x, first * stride, stride, sums, asked)
            for row in range(count):
                for lane in range(PANEL):
                    column = panel * PANEL + lane
                    number = sums[row * PANEL + lane] * scales[column] * inverse[first + row]
                    output[first + row, column] = number + biases[column]
            first += count
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def add_to_hidden(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, weights, layer, linear, operand, size, buffers, sums
):
    """A linear layer added to the hidden states, which are made ready for the norm that follows.

    linear: 1, the output of attention, or 3, the second half of the MLP.
    """
    x, hidden, following = operand.reshape(-1), buffers.hidden, buffers.x
    stride, num_tokens = operand.shape[1], len(hidden)
    size = size + size % 2
    start = layer * weights.starts[4] + weights.starts[linear]
    base = weights.columns[linear]
    scales, biases = weights.scales[layer, base:], weights.biases[layer, base:]
    norm = weights.norms[2 * layer + (linear + 1) // 2]
    num_panels, num_done = hidden.shape[1] // PANEL, 0
    num_blocks = count_blocks(num_tokens, num_threads)
    num_tasks = num_panels * num_blocks
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        block, panel = block_and_panel(task, num_panels)
        begin, stop = token_block(num_tokens, num_blocks, block)
        first = begin
        place = start + panel * PANEL * size
        while first < stop:
            count = tile_size(stop, first)
            asked = asked_half(place, size, begin, first, stop)
            multiply(count, weights.packed, place, size, x, first * stride, stride, sums, asked)
            for row in range(count):
                square = np.float32(0)
                for lane in range(PANEL):
                    column = panel * PANEL + lane
                    number = sums[row * PANEL + lane] * scales[column] + biases[column]
                    number += hidden[first + row, column]
                    hidden[first + row, column] = number
                    following[first + row, column] = to_element(following, number * norm[column])
                    square += number * number
                buffers.squares[first + row, panel] = square
            first += count
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def gate_up(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, buffers, inverse, sums
):
    """Norm, then both halves of the first half of the MLP in one: bent gate times up."""
    x, output = buffers.x.reshape(-1), buffers.activation
    stride, num_tokens = buffers.x.shape[1], len(output)
    size = shape.hidden_size + shape.hidden_size % 2
    start = layer * weights.starts[4] + weights.starts[2]
    base = weights.columns[2]
    scales, biases = weights.scales[layer, base:], weights.biases[layer, base:]
    normed = -1  # the block
    num_panels, num_done = (weights.columns[3] - base) // PANEL, 0
    num_blocks = count_blocks(num_tokens, num_threads)
    num_tasks = num_panels * num_blocks
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        block, panel = block_and_panel(task, num_panels)
        begin, stop = token_block(num_tokens, num_blocks, block)
        if block != normed:
            inverse_norms(buffers.squares, begin, stop, shape.hidden_size, shape.epsilon, inverse)
            normed = block
        first = begin
        place = start + panel * PANEL * size
        while first < stop:
            count = tile_size(stop, first)
            asked = asked_half(place, size, begin, first, stop)
            multiply(count, weights.packed, place, size, x, first * stride, stride, sums, asked)
            for row in range(count):
                factor = inverse[first + row]
                for lane in range(LANES):
                    column, other = panel * PANEL + lane, panel * PANEL + LANES + lane
                    gate = sums[row * PANEL + lane] * scales[column] * factor + biases[column]
                    up = sums[row * PANEL + LANES + lane] * scales[other] * factor + biases[other]
                    bent = _gelu(gate) if shape.has_gelu else _silu(gate)
                    output[first + row, panel * LANES + lane] = to_element(output, bent * up)
            first += count
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _silu(x):  # type: ignore[no-untyped-def]
    """x / (1 + exp(-x)), from the exponential of what is not positive."""
    small = exponential(-abs(x))
    return x * (np.float32(1) if x >= 0 else small) / (np.float32(1) + small)


@compiled()
def _gelu(x):  # type: ignore[no-untyped-def]
    """x (1 + tanh y) / 2 for y = sqrt(2 / pi) (x + 0.044715 x^3), which is x / (1 + exp(-2 y))."""
    y = np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)
    small = exponential(np.float32(-2) * abs(y))
    return x * (np.float32(1) if y >= 0 else small) / (np.float32(1) + small)
