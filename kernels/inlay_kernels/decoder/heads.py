"""Heads of queries and keys, turned by their positions; keys and values put into the cache."""

import numpy as np

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.cache_layout import head_start, key_place, value_place
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.decoder.rotation import turn

_TOGETHER = 8
"""Tokens of one task, where there are many."""
_MANY_TOKENS = 64
"""From so many tokens on."""


@compiled()
def rotate_and_keep(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, cache, inputs, batch, buffers, keys,
    values,
):  # fmt: skip
    """Rotated queries into their buffer; rotated keys, and values, into the cache."""
    qkv, size = buffers.qkv, shape.head_size
    num_tokens = len(qkv)
    together = _TOGETHER if num_tokens >= _MANY_TOKENS else 1
    num_tasks, num_done = (num_tokens + together - 1) // together, 0
    turned = np.zeros(size + size % 2, keys.dtype)
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        for token in range(task * together, min((task + 1) * together, num_tokens)):
            for head in range(shape.num_heads):
                own = qkv[token, head * size : (head + 1) * size]
                _turn(shape, weights, layer, 0, inputs, token, own, buffers.query[token, head])
            own = qkv[token]
            _keep(shape, weights, layer, cache, inputs, batch, token, own, keys, values, turned)
            _clear_behind(shape, cache, batch, token, values)
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _keep(  # type: ignore[no-untyped-def]
    shape, weights, layer, cache, inputs, batch, token, qkv, keys, values, turned
):
    """The key and the value of a token into its slot."""
    size = shape.head_size
    key_base, value_base = shape.num_heads, shape.num_heads + shape.num_kv_heads
    slot = batch.slots[token]
    block, offset = slot // cache.block_size, slot % cache.block_size
    for head in range(shape.num_kv_heads):
        start = head_start(cache, block, shape.num_kv_heads, head)
        _turn(
            shape, weights, layer, 1, inputs, token, qkv[(key_base + head) * size :][:size],
            turned[:size],
        )  # fmt: skip
        _keep_key(keys, start + key_place(keys.itemsize, cache.width, offset, 0), turned)
        value = qkv[(value_base + head) * size :][:size]
        for first in range(0, size, PANEL):
            place = start + value_place(values.itemsize, cache.block_size, offset, first)
            _keep_values(values, place, value[first : first + PANEL])


@compiled()
def _keep_key(keys, start, turned):  # type: ignore[no-untyped-def]
    """Put a key where it begins: pairs of its numbers together, if they have two bytes."""
    words, column = turned.view(np.uint32), keys.view(np.uint32)
    first = start * keys.itemsize // 4
    for number in range(len(words)):
        column[first + number * PANEL] = words[number]


@compiled()
def _keep_values(values, start, numbers):  # type: ignore[no-untyped-def]
    """Put the numbers of a value that lie in one panel from their first place on."""
    step = value_place(values.itemsize, PANEL, 0, 1)
    row = values[start : start + step * PANEL]
    for lane in range(len(numbers)):
        row[step * lane] = to_element(values, numbers[lane])


@compiled()
def _clear_behind(shape, cache, batch, token, values):  # type: ignore[no-untyped-def]
    """Zeros into the rest of the panel that the last token of a row lies in, if the row entered it
    now: what another row left there, which may be NaN, is multiplied by shares of zero."""
    row = np.searchsorted(batch.row_starts, token, side="right") - 1
    if token + 1 != batch.row_starts[row + 1]:
        return
    last = batch.context_lengths[row] - 1
    if last - last % PANEL < batch.context_lengths[row] - (token + 1 - batch.row_starts[row]):
        return
    slot = batch.slots[token]
    block, offset = slot // cache.block_size, slot % cache.block_size
    zero = to_element(values, np.float32(0))
    for head in range(shape.num_kv_heads):
        start = head_start(cache, block, shape.num_kv_heads, head)
        for behind in range(offset + 1, offset - offset % PANEL + PANEL):
            for d in range(shape.head_size):
                place = start + value_place(values.itemsize, cache.block_size, behind, d)
                values[place] = zero


@compiled()
def _turn(shape, weights, layer, which, inputs, token, head, turned):  # type: ignore[no-untyped-def]
    """One head of a token, normed where heads are, and rotated."""
    if shape.has_head_norms:
        square = np.float32(0)
        for d in range(shape.head_size):
            square += head[d] * head[d]
        factor = np.float32(1) / np.sqrt(square / np.float32(shape.head_size) + shape.head_epsilon)
        for d in range(shape.head_size):
            head[d] *= factor * weights.head_norms[layer, which, d]
    position = inputs.positions[token]
    cosines, sines = inputs.cosines[position], inputs.sines[position]
    turn(head, shape.rotary_size // 2, cosines, sines, turned)
