"""Attention of all rows, from products of the cache's panels with a few queries at a time.

The queries of a *tile* are those of some tokens for one head, or of one token for some heads. They
go through what they see in stretches, in the order of positions, with a softmax that is mended
when a stretch brings a higher score (Milakov and Gimelshein 2018, arXiv:1805.02867). Stretches
begin at fixed positions, so a token's sums are formed in the same order in any batch.
"""

from typing import Final

import numpy as np

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.cache_layout import head_start
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.products import MAX_ROWS, add_panels, multiply_panels
from inlay_kernels.decoder.shares import TILE, put_gathered, share_out

_CHUNK: Final = 4 * MAX_ROWS
"""Tokens of a task."""
_STRETCH: Final = 16 * PANEL
"""Positions whose scores are held at a time."""
_GAP: Final = 32
"""Numbers between rows of shares, so that not all rows meet in the same cache lines."""


@compiled()
def attend(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, layer, cache, batch, buffers, keys, values
):
    """Attention, a KV head and up to _CHUNK tokens of a row at a time."""
    scores = stack_array(_STRETCH * MAX_ROWS, np.float32)
    shares = stack_array(MAX_ROWS * (_STRETCH + _GAP), keys.dtype)
    sums = stack_array(cache.width // PANEL * TILE, np.float32)
    held = stack_array(2 * MAX_ROWS, np.float32).reshape(2, MAX_ROWS)
    views = stack_array(2 * MAX_ROWS, np.int64).reshape(2, MAX_ROWS)
    starts = stack_array(2 * _STRETCH // PANEL, np.int64).reshape(2, _STRETCH // PANEL)
    num_kv_heads = shape.num_kv_heads
    num_tasks, num_done = num_kv_heads * _num_chunks(batch, 0, len(batch.context_lengths)), 0
    row, first_chunk = 0, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        if task // num_kv_heads < first_chunk:
            row, first_chunk = 0, 0
        while task // num_kv_heads >= first_chunk + _num_chunks(batch, row, row + 1):
            first_chunk += _num_chunks(batch, row, row + 1)
            row += 1
        first = batch.row_starts[row] + (task // num_kv_heads - first_chunk) * _CHUNK
        _attend_chunk(
            shape, weights, layer, cache, batch, buffers, keys, values, row, first,
            task % num_kv_heads, scores, shares, sums, held, views, starts,
        )  # fmt: skip
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _num_chunks(batch, first_row, last_row):  # type: ignore[no-untyped-def]
    """Pieces of at most _CHUNK tokens of rows [first_row, last_row)."""
    count = 0
    for row in range(first_row, last_row):
        num_tokens = batch.row_starts[row + 1] - batch.row_starts[row]
        count += (num_tokens + _CHUNK - 1) // _CHUNK
    return count


@compiled()
def _attend_chunk(  # type: ignore[no-untyped-def]
    shape, weights, layer, cache, batch, buffers, keys, values, row, first, head, scores, shares,
    sums, held, views, starts,
):  # fmt: skip
    """Tiles of tokens, or of heads where these are more."""
    last = min(first + _CHUNK, batch.row_starts[row + 1])
    group, size = shape.num_heads // shape.num_kv_heads, shape.head_size
    is_of_heads = last - first < group
    num_outer, num_inner = (last - first, group) if is_of_heads else (group, last - first)
    stride = size if is_of_heads else size * shape.num_heads
    query, attended = buffers.query.reshape(-1), buffers.attended.reshape(-1)
    put_stride = size if is_of_heads else buffers.attended.shape[1]
    base = head_start(cache, 0, shape.num_kv_heads, head)
    block_stride = head_start(cache, 1, shape.num_kv_heads, 0)
    for outer in range(num_outer):
        for inner in range(0, num_inner, MAX_ROWS):
            count = min(MAX_ROWS, num_inner - inner)
            token = first + (outer if is_of_heads else inner)
            member = head * group + (inner if is_of_heads else outer)
            for place in range(count):
                own = token + (0 if is_of_heads else place)
                views[0, place], views[1, place] = _view(weights, layer, batch, row, own)
            _attend_tile(
                keys, values, cache.block_size, cache.width, base, block_stride,
                batch.block_tables[row], query, (token * shape.num_heads + member) * size, stride,
                count, size, views, weights.attention_scales[layer], scores, shares, sums, held,
                starts, attended, token * buffers.attended.shape[1] + member * size, put_stride,
            )  # fmt: skip


@compiled()
def _view(weights, layer, batch, row, token):  # type: ignore[no-untyped-def]
    """The positions [start, stop) that a token sees."""
    own = batch.context_lengths[row] - (batch.row_starts[row + 1] - token)
    stop = batch.stops[token] if len(batch.stops) > 0 else own + 1
    window = weights.windows[layer]
    return (max(0, own + 1 - window) if window > 0 else 0), stop


@compiled()
def _attend_tile(  # type: ignore[no-untyped-def]
    keys, values, block_size, width, base, block_stride, table, query, start, stride, count, size,
    views, scale, scores, shares, sums, held, starts, attended, put_start, put_stride,
):  # fmt: skip
    """Queries at start + place * stride, for places in [0, count), that see [views[0, place],
    views[1, place]); what they gather to put_start + place * put_stride of `attended`."""
    begin, end = views[0, 0], views[1, 0]
    for place in range(1, count):
        end = max(end, views[1, place])
    tops, totals = held[0], held[1]
    tops[:count], totals[:count] = -np.inf, 0
    for part in range(0, len(sums), TILE):
        sums[part : part + count * PANEL] = 0
    for stretch in range(begin // _STRETCH * _STRETCH, end, _STRETCH):
        first = max(stretch, begin // PANEL * PANEL)
        num_panels = (min(stretch + _STRETCH, end) - first + PANEL - 1) // PANEL
        _find_panels(table, block_size, width, base, block_stride, first, starts[:, :num_panels])
        multiply_panels(count, keys, starts[0], num_panels, size, query, start, stride, scores)
        for place in range(count):
            seen = max(views[0, place] - first, 0)
            stop = min(views[1, place] - first, num_panels * PANEL)
            share_out(
                scores, place, seen, stop, num_panels, scale, tops, totals, sums, shares,
                place * (_STRETCH + _GAP),
            )  # fmt: skip
        for part in range(width // PANEL):
            add_panels(
                count, values, starts[1], part * PANEL * block_size, num_panels, shares, 0,
                _STRETCH + _GAP, sums[part * TILE :],
            )  # fmt: skip
    for place in range(count):
        put = put_start + place * put_stride
        put_gathered(attended[put : put + size], sums, place, totals[place])


@compiled()
def _find_panels(  # type: ignore[no-untyped-def]
    table, block_size, width, base, block_stride, first, starts
):
    """Where the panels of keys begin from position `first` on, and those of values."""
    number, offset = first // block_size, first % block_size
    for panel in range(starts.shape[1]):
        block = table[number] * block_stride + base
        starts[0, panel] = block + offset * width
        starts[1, panel] = block + offset * PANEL
        offset += PANEL
        if offset == block_size:
            number, offset = number + 1, 0
