"""Attention of rows of many tokens, such as prefills, from products of panels.

For one KV head, the keys of a row's context are packed as a linear layer from heads to positions,
and its values as one from positions to heads.
"""

import numpy as np

from inlay_kernels.compiled import compiled, exponential
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.heads import MAX_SHORT
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.decoder.products import MAX_ROWS, PANEL, multiply
from inlay_kernels.scan import highest

_CHUNK = 8 * MAX_ROWS
"""Tokens of a task, for which keys and values are packed once."""
_GAP = 32
"""Numbers between rows of probabilities, so that not all rows meet in the same cache lines."""


@compiled()
def attend_long(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, batch, buffers, keys, values, sums
):
    """Attention of the rows of more than MAX_SHORT tokens, a KV head and _CHUNK tokens at a time.

    Softmax is applied to exponentials as they are; what they sum to divides the result.
    """
    num_chunks = 0
    for row in range(len(batch.context_lengths)):
        num_chunks += _chunks(batch, row)
    num_tasks, num_done = num_chunks * shape.num_kv_heads, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        row, chunk = 0, task // shape.num_kv_heads
        while chunk >= _chunks(batch, row):
            chunk -= _chunks(batch, row)
            row += 1
        _attend_chunk(
            shape, weights, layer, batch, buffers, keys, values, sums, row, chunk,
            task % shape.num_kv_heads,
        )  # fmt: skip
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _chunks(batch, row):  # type: ignore[no-untyped-def]
    """Tasks of a row and a KV head."""
    num_tokens = batch.row_starts[row + 1] - batch.row_starts[row]
    return (num_tokens + _CHUNK - 1) // _CHUNK if num_tokens > MAX_SHORT else 0


@compiled()
def _view(weights, layer, batch, row, token):  # type: ignore[no-untyped-def]
    """The positions [start, stop) that a token sees."""
    own = batch.context_lengths[row] - (batch.row_starts[row + 1] - token)
    stop = batch.stops[token] if len(batch.stops) > 0 else own + 1
    window = weights.windows[layer]
    return (max(0, own + 1 - window) if window > 0 else 0), stop


@compiled()
def _attend_chunk(  # type: ignore[no-untyped-def]
    shape, weights, layer, batch, buffers, keys, values, sums, row, chunk, head
):
    first = batch.row_starts[row] + chunk * _CHUNK
    last = min(first + _CHUNK, batch.row_starts[row + 1])
    start, stop = _view(weights, layer, batch, row, first)
    for token in range(first + 1, last):
        stop = max(stop, _view(weights, layer, batch, row, token)[1])
    span = (stop - start + PANEL - 1) // PANEL * PANEL
    width = (shape.head_size + PANEL - 1) // PANEL * PANEL
    packed_keys = np.zeros(span * shape.head_size, keys.dtype)
    packed_values = np.zeros(width * span, values.dtype)
    table = batch.block_tables[row]
    _pack(keys, values, table, head, start, stop, span, packed_keys, packed_values)
    scores = np.empty((MAX_ROWS, span), np.float32)
    shares = np.empty((MAX_ROWS, span + _GAP), keys.dtype)
    totals = np.empty(MAX_ROWS, np.float32)
    group = shape.num_heads // shape.num_kv_heads
    for member in range(head * group, (head + 1) * group):
        for tile in range(first, last, MAX_ROWS):
            count = min(MAX_ROWS, last - tile)
            _score(shape, batch, weights, layer, row, buffers.query, tile, count, member,
                   start, packed_keys, scores, shares, totals, sums)  # fmt: skip
            for panel in range(width // PANEL):
                multiply(
                    count, packed_values, panel * PANEL * span, span, shares.reshape(-1), 0,
                    span + _GAP, sums,
                )  # fmt: skip
                num_lanes = min(PANEL, shape.head_size - panel * PANEL)
                for place in range(count):
                    for lane in range(num_lanes):
                        column = member * shape.head_size + panel * PANEL + lane
                        number = sums[place * PANEL + lane] / totals[place]
                        attended = to_element(buffers.attended, number)
                        buffers.attended[tile + place, column] = attended


@compiled()
def _pack(  # type: ignore[no-untyped-def]
    keys, values, table, head, start, stop, span, packed_keys, packed_values
):
    """Positions [start, stop) of a KV head, as `packing` lays out two linear layers."""
    block_size, size = keys.shape[1], keys.shape[3]
    together = 2 if keys.itemsize == 2 else 1
    for place in range(stop - start):
        block = table[(start + place) // block_size]
        offset = (start + place) % block_size
        base = place // PANEL * PANEL * size + place % PANEL * together
        for d in range(size):
            step = d // together * PANEL * together
            packed_keys[base + step + d % together] = keys[block, offset, head, d]
        base = place // together * PANEL * together + place % together
        for d in range(size):
            panel = d // PANEL * PANEL * span
            packed_values[base + panel + d % PANEL * together] = values[block, offset, head, d]


@compiled()
def _score(  # type: ignore[no-untyped-def]
    shape, batch, weights, layer, row, query, tile, count, member, start, packed_keys, scores,
    shares, totals, sums,
):  # fmt: skip
    """Fill `shares` with the exponentials of the scores of `count` tokens, and `totals`."""
    size, span = shape.head_size, scores.shape[1]
    scale = weights.attention_scales[layer]
    furthest = 0
    for place in range(count):
        furthest = max(furthest, _view(weights, layer, batch, row, tile + place)[1])
    x, x_start = query.reshape(-1), (tile * shape.num_heads + member) * size
    for panel in range((furthest - start + PANEL - 1) // PANEL):
        multiply(
            count, packed_keys, panel * PANEL * size, size, x, x_start, shape.num_heads * size, sums
        )
        for place in range(count):
            for lane in range(PANEL):
                scores[place, panel * PANEL + lane] = sums[place * PANEL + lane] * scale
    zero = to_element(shares, np.float32(0))
    for place in range(count):
        seen, stop = _view(weights, layer, batch, row, tile + place)
        seen, stop = seen - start, stop - start
        top = highest(scores[place, seen:stop])
        total = np.float32(0)
        for position in range(seen):
            shares[place, position] = zero
        for position in range(seen, stop):
            share = exponential(scores[place, position] - top)
            shares[place, position] = to_element(shares, share)
            total += share
        for position in range(stop, span):
            shares[place, position] = zero
        totals[place] = total
