"""Paged attention for CPUs: short rows in a compiled loop over the blocks, long rows by SDPA.

Numba compiles the loop on the user's machine, once, into a cache on disk. Keys and values are read
where they lie; bfloat16 is widened on the way, and everything is summed in float32.
"""

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.compiled import as_array, compiled, exponential, to_float
from inlay_kernels.launch import launch
from inlay_kernels.paged_attention import reference
from inlay_kernels.paged_attention.gathered import attend_gathered
from inlay_kernels.scan import highest

_MAX_SHORT = 8
"""Rows of at most this many tokens take the compiled loop; for longer ones GEMMs win."""
_TILE = 16
"""Positions that are widened at a time; a multiple of 4."""
_NO_STOPS = np.empty(0, np.int32)
_NO_SINKS = np.empty(0, np.float32)
_NO_SINK = np.float32(-np.inf)


def paged_attention(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    batch: AttentionBatch,
    *,
    scale: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """What `reference.paged_attention` computes, for contiguous caches on the CPU.

    float32 and bfloat16 are fast; other types take the reference.
    """
    if query.dtype not in (torch.float32, torch.bfloat16):
        return reference.paged_attention(
            query,
            key_cache,
            value_cache,
            batch,
            scale=scale,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=sinks,
        )
    output = torch.empty(query.shape, dtype=torch.float32)
    _attend_short(
        query.contiguous(),
        key_cache,
        value_cache,
        batch,
        output,
        scale,
        sliding_window or 0,
        softcap or 0.0,
        sinks,
    )
    if query.shape[0] > batch.num_rows:
        attend_gathered(
            query,
            key_cache,
            value_cache,
            batch,
            output,
            _MAX_SHORT,
            scale=scale,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=sinks,
        )
    return output.to(query.dtype)


def _attend_short(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    batch: AttentionBatch,
    output: Tensor,
    scale: float,
    sliding_window: int,
    softcap: float,
    sinks: Tensor | None,
) -> None:
    """Fill `output` for the rows of at most _MAX_SHORT tokens."""
    lengths = batch.context_lengths.numpy()
    launch(
        _attend_rows,
        len(lengths) * key_cache.shape[2],
        int(lengths.sum()) * query.shape[1] * query.shape[2],
        as_array(query),
        as_array(key_cache),
        as_array(value_cache),
        batch.row_starts.numpy(),
        lengths,
        batch.block_tables.numpy(),
        _NO_STOPS if batch.stops is None else batch.stops.numpy(),
        np.float32(scale),
        sliding_window,
        np.float32(softcap),
        _NO_SINKS if sinks is None else sinks.float().numpy(),
        output.numpy(),
    )


@compiled(nogil=True, makes_arrays=True)
def _attend_rows(  # type: ignore[no-untyped-def]
    first,
    stride,
    query,
    keys,
    values,
    starts,
    lengths,
    tables,
    stops,
    scale,
    window,
    softcap,
    sinks,
    output,
):
    """Every stride-th pair of a short row and a KV head, from the first on."""
    num_kv_heads, head_size = keys.shape[2], keys.shape[3]
    group = query.shape[1] // num_kv_heads
    tile = np.zeros((_TILE, head_size), np.float32)
    scaled = np.empty((group, head_size), np.float32)
    total = np.empty((group, head_size), np.float32)
    for task in range(first, len(lengths) * num_kv_heads, stride):
        row, head = task // num_kv_heads, task % num_kv_heads
        length, table = lengths[row], tables[row]
        num_tokens = starts[row + 1] - starts[row]
        if num_tokens > _MAX_SHORT:
            continue
        scores = np.empty((group, length + _TILE), np.float32)
        for token in range(starts[row], starts[row + 1]):
            own = length - (starts[row + 1] - token)
            stop = stops[token] if len(stops) > 0 else own + 1
            start = max(0, own + 1 - window) if window > 0 else 0
            _scale_query(query, token, head * group, scale, scaled)
            _score(scaled, keys, table, head, start, stop, tile, scores)
            for member in range(group):
                sink = sinks[head * group + member] if len(sinks) > 0 else _NO_SINK
                _softmax(scores[member], stop - start, softcap, sink)
            _weigh(scores, values, table, head, start, stop, tile, total)
            _write(total, output, token, head * group)


@compiled()
def _scale_query(query, token, first_head, scale, scaled):  # type: ignore[no-untyped-def]
    for member in range(scaled.shape[0]):
        for place in range(scaled.shape[1]):
            scaled[member, place] = to_float(query[token, first_head + member, place]) * scale


@compiled()
def _write(total, output, token, first_head):  # type: ignore[no-untyped-def]
    for member in range(total.shape[0]):
        for place in range(total.shape[1]):
            output[token, first_head + member, place] = total[member, place]


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
def _softmax(scores, num_scores, softcap, sink):  # type: ignore[no-untyped-def]
    """Turn scores into probabilities in place, and up to 3 entries after them into zeros."""
    if softcap > 0:
        for place in range(num_scores):
            bent = exponential(np.float32(-2) * abs(scores[place]) / softcap)
            tanh = (np.float32(1) - bent) / (np.float32(1) + bent)
            scores[place] = softcap * (tanh if scores[place] >= 0 else -tanh)
    top = max(highest(scores[:num_scores]), sink)
    total = exponential(sink - top) if sink > _NO_SINK else np.float32(0)
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
