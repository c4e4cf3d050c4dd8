"""Paged attention for GPUs: one Triton kernel for decode and prefill rows in one batch."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from inlay_kernels.batch import AttentionBatch

_MIN_DOT = 16
"""Smallest side of a matrix that `tl.dot` multiplies."""
_TILE_POSITIONS = 32
"""Positions of the context that a program looks at in one go."""
_MAX_TILE_QUERIES = 64
"""Query vectors (tokens x heads of a group) of one program, when a row has many tokens."""


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
    """What `reference.paged_attention` computes, for contiguous caches on the device of `query`."""
    query = query.contiguous()
    output = torch.empty_like(query)
    num_tokens, num_heads, head_size = query.shape
    num_kv_heads = key_cache.shape[2]
    group = num_heads // num_kv_heads
    # No row has more tokens than are left when each other row has one: no look at the device.
    max_tokens = num_tokens - batch.num_rows + 1
    group_size = triton.next_power_of_2(group)
    tile_tokens = _tile_tokens(max_tokens, group_size)
    grid = (batch.num_rows, triton.cdiv(max_tokens, tile_tokens), num_kv_heads)
    _attend[grid](
        query,
        key_cache,
        value_cache,
        output,
        batch.row_starts,
        batch.context_lengths,
        batch.block_tables,
        batch.slots if batch.stops is None else batch.stops,
        query if sinks is None else sinks,
        batch.block_tables.stride(0),
        scale,
        softcap or 0.0,
        sliding_window or 0,
        num_heads,
        num_kv_heads,
        GROUP=group,
        GROUP_SIZE=group_size,
        HEAD=head_size,
        HEAD_SIZE=max(_MIN_DOT, triton.next_power_of_2(head_size)),
        BLOCK_SIZE=key_cache.shape[1],
        TILE_TOKENS=tile_tokens,
        TILE_POSITIONS=_TILE_POSITIONS,
        HAS_SOFTCAP=softcap is not None,
        HAS_WINDOW=sliding_window is not None,
        HAS_STOPS=batch.stops is not None,
        HAS_SINKS=sinks is not None,
    )
    return output


def _tile_tokens(max_tokens: int, group_size: int) -> int:
    """Tokens of one program: a power of two that fills, and does not overfill, a tile."""
    wanted = max(1, min(triton.next_power_of_2(max_tokens), _MAX_TILE_QUERIES // group_size))
    return int(max(wanted, _MIN_DOT // group_size))


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    query_ptr,
    key_ptr,
    value_ptr,
    output_ptr,
    starts_ptr,
    lengths_ptr,
    tables_ptr,
    stops_ptr,
    sinks_ptr,
    table_stride,
    scale,
    softcap,
    window,
    num_heads,
    num_kv_heads,
    GROUP: tl.constexpr,
    GROUP_SIZE: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    TILE_TOKENS: tl.constexpr,
    TILE_POSITIONS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_STOPS: tl.constexpr,
    HAS_SINKS: tl.constexpr,
):
    """One KV head of some tokens of a row: a query tile of TILE_TOKENS x GROUP_SIZE vectors."""
    row, tile, kv_head = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    start = tl.load(starts_ptr + row)
    num_tokens = tl.load(starts_ptr + row + 1) - start
    length = tl.load(lengths_ptr + row)
    first = tile * TILE_TOKENS
    if first >= num_tokens:
        return

    vectors = tl.arange(0, TILE_TOKENS * GROUP_SIZE)
    tokens, members = first + vectors // GROUP_SIZE, vectors % GROUP_SIZE
    dims = tl.arange(0, HEAD_SIZE)
    heads = kv_head * GROUP + members
    places = ((start + tokens).to(tl.int64) * num_heads + heads)[:, None] * HEAD + dims[None, :]
    is_real = ((tokens < num_tokens) & (members < GROUP))[:, None] & (dims < HEAD)[None, :]
    query = tl.load(query_ptr + places, mask=is_real, other=0.0)
    own = length - num_tokens + tokens

    highest = tl.full([TILE_TOKENS * GROUP_SIZE], float("-inf"), tl.float32)
    total = tl.zeros([TILE_TOKENS * GROUP_SIZE], tl.float32)
    weighed = tl.zeros([TILE_TOKENS * GROUP_SIZE, HEAD_SIZE], tl.float32)
    if HAS_SINKS:  # as if a first position with the sink for a score and zeros for a value was seen
        highest = tl.load(sinks_ptr + heads, mask=members < GROUP, other=0.0).to(tl.float32)
        total += 1.0
    stop = tl.minimum(length, length - num_tokens + first + TILE_TOKENS)
    token_stops = own + 1
    if HAS_STOPS:
        token_stops = tl.load(stops_ptr + start + tokens, mask=tokens < num_tokens, other=0)
        stop = length
    begin = 0
    if HAS_WINDOW:
        begin = tl.maximum(0, length - num_tokens + first - window + 1)
    for position in range(begin, stop, TILE_POSITIONS):
        positions = position + tl.arange(0, TILE_POSITIONS)
        is_there = positions < stop
        blocks = tl.load(
            tables_ptr + row * table_stride + positions // BLOCK_SIZE, mask=is_there, other=0
        )
        slots = blocks.to(tl.int64) * BLOCK_SIZE + positions % BLOCK_SIZE
        cached = (slots * num_kv_heads + kv_head)[:, None] * HEAD + dims[None, :]
        can_read = is_there[:, None] & (dims < HEAD)[None, :]
        key = tl.load(key_ptr + cached, mask=can_read, other=0.0)
        score = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        if HAS_SOFTCAP:
            score = softcap * (1.0 - 2.0 / (tl.exp(2.0 * score / softcap) + 1.0))
        is_visible = is_there[None, :] & (positions[None, :] < token_stops[:, None])
        if HAS_WINDOW:
            is_visible &= positions[None, :] > own[:, None] - window
        score = tl.where(is_visible, score, float("-inf"))
        # A vector that has seen nothing yet has highest = -inf, and -inf minus -inf is NaN.
        new_highest = tl.maximum(highest, tl.max(score, 1))
        reference = tl.where(new_highest == float("-inf"), 0.0, new_highest)
        weight = tl.exp(score - reference[:, None])
        shrink = tl.exp(highest - reference)
        value = tl.load(value_ptr + cached, mask=can_read, other=0.0)
        total = total * shrink + tl.sum(weight, 1)
        weighed = weighed * shrink[:, None]
        weighed += tl.dot(weight.to(value.dtype), value, input_precision="ieee")
        highest = new_highest
    answer = weighed / tl.where(total == 0.0, 1.0, total)[:, None]
    tl.store(output_ptr + places, answer.to(output_ptr.dtype.element_ty), mask=is_real)
