"""Attention of long rows, such as prefills: gather the row's context, then one call of SDPA."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.paged_attention import reference


def attend_gathered(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    batch: AttentionBatch,
    output: Tensor,
    max_short: int,
    *,
    scale: float,
    sliding_window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> None:
    """Fill `output` (tokens, heads, head_size) for the rows of more than `max_short` tokens."""
    starts = batch.row_starts.tolist()
    for row, length in enumerate(batch.context_lengths.tolist()):
        tokens = slice(starts[row], starts[row + 1])
        if tokens.stop - tokens.start <= max_short:
            continue
        if softcap is not None or sinks is not None:
            output[tokens] = reference.paged_attention(
                query[tokens],
                key_cache,
                value_cache,
                _one_row(batch, row, tokens),
                scale=scale,
                sliding_window=sliding_window,
                softcap=softcap,
                sinks=sinks,
            )
            continue
        keys = _context(key_cache, batch.block_tables[row], length)
        values = _context(value_cache, batch.block_tables[row], length)
        stops = None if batch.stops is None else batch.stops[tokens]
        output[tokens] = _sdpa(query[tokens], keys, values, scale, sliding_window, stops)


def _sdpa(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scale: float,
    sliding_window: int | None,
    stops: Tensor | None,
) -> Tensor:
    """Attention of the last len(query) of len(keys) positions: (tokens, heads, head_size)."""
    num_tokens, length = query.shape[0], keys.shape[0]
    is_windowed = sliding_window is not None and sliding_window < length
    is_square = num_tokens == length and not is_windowed and stops is None
    mask = None if is_square else reference.visible(num_tokens, length, sliding_window, stops)
    attended = scaled_dot_product_attention(
        query.transpose(0, 1).unsqueeze(0),
        keys.transpose(0, 1).unsqueeze(0),
        values.transpose(0, 1).unsqueeze(0),
        attn_mask=mask,
        is_causal=is_square,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[1],
    )
    return attended.squeeze(0).transpose(0, 1)


def _context(cache: Tensor, block_table: Tensor, length: int) -> Tensor:
    """What a row's blocks hold, in order: (length, kv_heads, head_size)."""
    num_blocks = -(-length // cache.shape[1])
    return cache[block_table[:num_blocks].long()].flatten(0, 1)[:length]


def _one_row(batch: AttentionBatch, row: int, tokens: slice) -> AttentionBatch:
    return AttentionBatch(
        row_starts=torch.tensor([0, tokens.stop - tokens.start], dtype=torch.int32),
        context_lengths=batch.context_lengths[row : row + 1],
        block_tables=batch.block_tables[row : row + 1],
        slots=batch.slots[tokens],
        stops=None if batch.stops is None else batch.stops[tokens],
    )
