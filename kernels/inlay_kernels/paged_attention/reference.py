"""Paged attention in plain torch: slow, obvious, and what every other form is held against."""

import torch
from torch import Tensor

from inlay_kernels.batch import AttentionBatch


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
    """Attention of each row's tokens over the row's whole context, causal unless `batch.stops`.

    query: (tokens, heads, head_size). key_cache, value_cache: (num_blocks, block_size, kv_heads,
    head_size), which already hold this step's keys and values; heads is a multiple of kv_heads and
    head h reads KV head h // (heads // kv_heads). Scores are multiplied by `scale`, then bent by
    softcap * tanh(score / softcap). With a sliding window a token sees itself and the
    `sliding_window - 1` tokens before it; how far it sees ahead is left as it is. With `sinks`
    (heads,) the softmax of a head counts one score more, its sink, that no value belongs to.
    Computes in float32 and returns (tokens, heads, head_size) in the type of `query`.
    """
    output = torch.empty_like(query)
    starts = batch.row_starts.tolist()
    for row, context_length in enumerate(batch.context_lengths.tolist()):
        tokens = slice(starts[row], starts[row + 1])
        block_table = batch.block_tables[row]
        keys = _context(key_cache, block_table, context_length)
        values = _context(value_cache, block_table, context_length)
        scores = _scores(query[tokens].float(), keys, scale, softcap)
        stops = None if batch.stops is None else batch.stops[tokens]
        is_visible = visible(tokens.stop - tokens.start, context_length, sliding_window, stops)
        is_hidden = ~is_visible.to(scores.device)
        probabilities = _softmax(scores.masked_fill(is_hidden, float("-inf")), sinks)
        output[tokens] = _weighted(probabilities, values).to(query.dtype)
    return output


def visible(
    num_tokens: int, length: int, sliding_window: int | None, stops: Tensor | None = None
) -> Tensor:
    """Which positions each token may look at: bool (tokens, length), where `stops` is or on CPU."""
    positions = torch.arange(length, device=None if stops is None else stops.device)
    own = positions[length - num_tokens :].unsqueeze(1)
    visible = positions <= own if stops is None else positions < stops.unsqueeze(1)
    if sliding_window is not None:
        visible &= positions > own - sliding_window
    return visible


def _context(cache: Tensor, block_table: Tensor, length: int) -> Tensor:
    """What a row's blocks hold, in order and in float32: (length, kv_heads, head_size)."""
    num_blocks = -(-length // cache.shape[1])
    return cache[block_table[:num_blocks].long()].flatten(0, 1)[:length].float()


def _scores(query: Tensor, keys: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Scores before masking: (kv_heads, group, tokens, length)."""
    num_tokens, _, head_size = query.shape
    grouped = query.reshape(num_tokens, keys.shape[1], -1, head_size)
    scores = torch.einsum("tkgd,skd->kgts", grouped, keys) * scale
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def _softmax(scores: Tensor, sinks: Tensor | None) -> Tensor:
    """Probabilities of scores (kv_heads, group, tokens, length)."""
    if sinks is None:
        return scores.softmax(-1)
    sink = sinks.float().view(*scores.shape[:2], 1, 1).expand(*scores.shape[:3], 1)
    return torch.cat([scores, sink], -1).softmax(-1)[..., :-1]


def _weighted(probabilities: Tensor, values: Tensor) -> Tensor:
    """Probabilities times values: (tokens, heads, head_size)."""
    return torch.einsum("kgts,skd->tkgd", probabilities, values).flatten(1, 2)
