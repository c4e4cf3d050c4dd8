"""What happens to heads between two linear layers: rotation, cache, attention."""

import numpy as np

from inlay_kernels.compiled import compiled, exponential, to_float
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.scan import highest

MAX_SHORT = 8
"""Rows of at most so many tokens attend here; for longer ones GEMMs win."""
_TOKENS = 8
"""Tokens that one task rotates."""
_TILE = 16
"""Positions that are widened at a time; a multiple of 4."""


@compiled()
def rotate_and_keep(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, batch, buffers, keys, values
):
    """Rotated queries into their buffer; rotated keys, and values, into the cache."""
    qkv, size = buffers.qkv, shape.head_size
    num_tokens = len(qkv)
    num_tasks, num_done = (num_tokens + _TOKENS - 1) // _TOKENS, 0
    turned = np.empty(size, np.float32)
    key_base, value_base = shape.num_heads, shape.num_heads + shape.num_kv_heads
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        for token in range(task * _TOKENS, min((task + 1) * _TOKENS, num_tokens)):
            slot = batch.slots[token]
            block, offset = slot // keys.shape[1], slot % keys.shape[1]
            for head in range(shape.num_heads):
                _turn(shape, weights, layer, 0, batch, token, qkv[token, head * size :], turned)
                for d in range(size):
                    buffers.query[token, head, d] = to_element(buffers.query, turned[d])
            for head in range(shape.num_kv_heads):
                part = qkv[token, (key_base + head) * size :]
                _turn(shape, weights, layer, 1, batch, token, part, turned)
                for d in range(size):
                    keys[block, offset, head, d] = to_element(keys, turned[d])
                for d in range(size):
                    number = qkv[token, (value_base + head) * size + d]
                    values[block, offset, head, d] = to_element(values, number)
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _turn(shape, weights, layer, which, batch, token, head, turned):  # type: ignore[no-untyped-def]
    """One head of a token, normed where heads are, with its leading part rotated by its halves."""
    size, half = shape.head_size, shape.rotary_size // 2
    if shape.has_head_norms:
        square = np.float32(0)
        for d in range(size):
            square += head[d] * head[d]
        factor = np.float32(1) / np.sqrt(square / np.float32(size) + shape.head_epsilon)
        for d in range(size):
            head[d] *= factor * weights.head_norms[layer, which, d]
    cosines, sines = batch.cosines[token], batch.sines[token]
    for d in range(half):
        turned[d] = head[d] * cosines[d] - head[half + d] * sines[d]
        turned[half + d] = head[half + d] * cosines[half + d] + head[d] * sines[half + d]
    for d in range(2 * half, size):
        turned[d] = head[d]


@compiled()
def attend(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, batch, buffers, keys, values
):
    """Attention of the rows of at most MAX_SHORT tokens, a KV head at a time."""
    num_kv_heads, size = shape.num_kv_heads, shape.head_size
    group = shape.num_heads // num_kv_heads
    tile = np.zeros((_TILE, size), np.float32)
    scaled = np.empty((group, size), np.float32)
    total = np.empty((group, size), np.float32)
    num_tasks, num_done = len(batch.context_lengths) * num_kv_heads, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        row, head = task // num_kv_heads, task % num_kv_heads
        first, last = batch.row_starts[row], batch.row_starts[row + 1]
        if last - first <= MAX_SHORT:
            length, table = batch.context_lengths[row], batch.block_tables[row]
            scores = np.empty((group, length + _TILE), np.float32)
            for token in range(first, last):
                own = length - (last - token)
                stop = batch.stops[token] if len(batch.stops) > 0 else own + 1
                window = weights.windows[layer]
                start = max(0, own + 1 - window) if window > 0 else 0
                for member in range(group):
                    for d in range(size):
                        number = to_float(buffers.query[token, head * group + member, d])
                        scaled[member, d] = number * weights.attention_scales[layer]
                _score(scaled, keys, table, head, start, stop, tile, scores)
                for member in range(group):
                    _softmax(scores[member], stop - start)
                _weigh(scores, values, table, head, start, stop, tile, total)
                for member in range(group):
                    for d in range(size):
                        column = (head * group + member) * size + d
                        number = to_element(buffers.attended, total[member, d])
                        buffers.attended[token, column] = number
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _widen(cache, table, head, first, last, tile):  # type: ignore[no-untyped-def]
    """Copy positions [first, last) of one KV head into the tile, then zeros up to a multiple of 4,
    lest what another row left there (it may be NaN) is multiplied by a weight of zero."""
    block_size = cache.shape[1]
    index, offset = first // block_size, first % block_size
    for place in range(last - first):
        if offset == block_size:
            index, offset = index + 1, 0
        block = table[index]
        for d in range(tile.shape[1]):
            tile[place, d] = to_float(cache[block, offset, head, d])
        offset += 1
    for place in range(last - first, (last - first + 3) // 4 * 4):
        tile[place] = 0


@compiled()
def _score(query, keys, table, head, start, stop, tile, scores):  # type: ignore[no-untyped-def]
    """Dot products of positions [start, stop), four at a time; up to 3 scores more are junk."""
    for first in range(start, stop, _TILE):
        last = min(first + _TILE, stop)
        _widen(keys, table, head, first, last, tile)
        for place in range(0, last - first, 4):
            column = first - start + place
            for member in range(query.shape[0]):
                dot0 = dot1 = dot2 = dot3 = np.float32(0)
                for d in range(query.shape[1]):
                    x = query[member, d]
                    dot0 += x * tile[place, d]
                    dot1 += x * tile[place + 1, d]
                    dot2 += x * tile[place + 2, d]
                    dot3 += x * tile[place + 3, d]
                scores[member, column] = dot0
                scores[member, column + 1] = dot1
                scores[member, column + 2] = dot2
                scores[member, column + 3] = dot3


@compiled()
def _softmax(scores, num_scores):  # type: ignore[no-untyped-def]
    """Turn scores into probabilities in place, and up to 3 entries after them into zeros."""
    top = highest(scores[:num_scores])
    total = np.float32(0)
    for place in range(num_scores):
        scores[place] = exponential(scores[place] - top)
        total += scores[place]
    share = np.float32(1) / total
    for place in range(num_scores):
        scores[place] *= share
    for place in range(num_scores, min(num_scores + 3, len(scores))):
        scores[place] = 0


@compiled()
def _weigh(  # type: ignore[no-untyped-def]
    scores, values, table, head, start, stop, tile, total
):
    """Fill total (group, head_size) with the values of positions [start, stop), by their scores."""
    total[:] = 0
    for first in range(start, stop, _TILE):
        last = min(first + _TILE, stop)
        _widen(values, table, head, first, last, tile)
        for place in range(0, last - first, 4):
            column = first - start + place
            for member in range(total.shape[0]):
                weight0, weight1 = scores[member, column], scores[member, column + 1]
                weight2, weight3 = scores[member, column + 2], scores[member, column + 3]
                for d in range(total.shape[1]):
                    total[member, d] += (
                        weight0 * tile[place, d]
                        + weight1 * tile[place + 1, d]
                        + weight2 * tile[place + 2, d]
                        + weight3 * tile[place + 3, d]
                    )
