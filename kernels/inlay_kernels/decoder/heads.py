"""Heads of queries and keys, turned by their positions; keys and values put into the cache."""

import numpy as np

from inlay_kernels.arrays_in_place import stack_array
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
    num_tokens = len(buffers.qkv)
    together = _TOGETHER if num_tokens >= _MANY_TOKENS else 1
    num_tasks, num_done = (num_tokens + together - 1) // together, 0
    stride = shape.head_size + shape.head_size % 2
    turned = stack_array(shape.num_kv_heads * stride, keys.dtype)
    turned[:] = 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        for token in range(task * together, min((task + 1) * together, num_tokens)):
            _turn_token(shape, weights, layer, inputs, buffers, token, turned, stride)
            _keep(shape, cache, batch, token, buffers.qkv[token], keys, values, turned, stride)
            _clear_behind(shape, cache, batch, token, values)
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _turn_token(  # type: ignore[no-untyped-def]
    shape, weights, layer, inputs, buffers, token, turned, stride
):
    """The heads of a token, normed where heads are, and rotated: queries into their buffer, keys
    into `turned`, `stride` numbers apart."""
    size, half = shape.head_size, shape.rotary_size // 2
    num_queries, num_keys = shape.num_heads * size, shape.num_kv_heads * size
    own = buffers.qkv[token]
    queries, own_keys = own[:num_queries], own[num_queries : num_queries + num_keys]
    if shape.has_head_norms:
        _norm_heads(queries, size, shape.head_epsilon, weights.head_norms[layer, 0])
        _norm_heads(own_keys, size, shape.head_epsilon, weights.head_norms[layer, 1])
    position = inputs.positions[token]
    cosines, sines = inputs.cosines[position], inputs.sines[position]
    turn(queries, size, half, cosines, sines, buffers.query[token].reshape(-1), size)
    turn(own_keys, size, half, cosines, sines, turned, stride)


@compiled()
def _norm_heads(heads, size, epsilon, norm):  # type: ignore[no-untyped-def]
    """Norm each head, in place."""
    for start in range(0, len(heads), size):
        head = heads[start : start + size]
        square = np.float32(0)
        for d in range(size):
            square += head[d] * head[d]
        factor = np.float32(1) / np.sqrt(square / np.float32(size) + epsilon)
        for d in range(size):
            head[d] *= factor * norm[d]


@compiled()
def _keep(  # type: ignore[no-untyped-def]
    shape, cache, batch, token, qkv, keys, values, turned, stride
):
    """The keys and the values of a token into its slot."""
    size, num_kv_heads = shape.head_size, shape.num_kv_heads
    own_values = qkv[(shape.num_heads + num_kv_heads) * size :]
    slot = batch.slots[token]
    block, offset = slot // cache.block_size, slot % cache.block_size
    for head in range(num_kv_heads):
        start = head_start(cache, block, num_kv_heads, head)
        own = turned[head * stride : (head + 1) * stride]
        _keep_key(keys, start + key_place(keys.itemsize, cache.width, offset, 0), own)
        for first in range(0, size, PANEL):
            place = start + value_place(values.itemsize, cache.block_size, offset, first)
            last = min(first + PANEL, size)
            _keep_values(values, place, own_values[head * size + first : head * size + last])


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
