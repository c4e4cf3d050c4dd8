"""Full attention for CPUs, from products of panels of keys and values with a few queries at a time.

Keys and values are laid out as products read them. Then each tile of queries goes through them in
stretches, with a softmax that is mended when a stretch brings a higher score (Milakov and
Gimelshein 2018, arXiv:1805.02867). A query's sums are formed in the same order in any batch.
"""

import functools
import os
from typing import Final

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import as_array, compiled
from inlay_kernels.decoder.crew import Crew, claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.products import MAX_ROWS, add_panels, multiply_panels
from inlay_kernels.decoder.shares import TILE, put_gathered, share_out
from inlay_kernels.full_attention.panels import (
    key_panel,
    lay_out,
    make_panels,
    rows_of,
    value_panel,
)

_CHUNK: Final = 4 * MAX_ROWS
"""Queries of a task."""
_STRETCH: Final = 16
"""Panels of positions whose scores are held at a time."""
_ROW: Final = _STRETCH * PANEL + 32
"""Numbers from a row of shares to the next: not so many that all rows meet in the same cache
lines."""


def can_attend(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether `full_attention` takes tensors of these shapes and types."""
    dtype, is_paired = query.dtype, query.dtype == torch.bfloat16
    has_even_heads = query.shape[-1] % 2 == 0 or not is_paired
    return (
        all(part.dim() == 4 and part.device.type == "cpu" for part in (query, key, value))
        and dtype == key.dtype == value.dtype
        and (is_paired or dtype == torch.float32)
        and query.shape[0] == key.shape[0]
        and query.shape[-1] == key.shape[-1]
        and key.shape[:3] == value.shape[:3]
        and query.shape[1] % key.shape[1] == 0
        and has_even_heads
    )


def full_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """What `reference.full_attention` computes, for what `can_attend` takes.

    On as many threads as torch uses; other than this one they have its priority, and are not
    those that steps compute with.
    """
    batch, num_heads, num_tokens, _ = query.shape
    attended = torch.empty(batch, num_tokens, num_heads, value.shape[-1], dtype=query.dtype)
    panels = make_panels(key, value)
    _crew(os.getpriority(os.PRIO_PROCESS, 0)).run(
        _attend_fully,
        2,
        panels,
        *(rows_of(part) for part in (query, key, value)),
        np.float32(scale),
        as_array(attended),
    )
    return attended


@functools.cache
def _crew(niceness: int) -> Crew:
    """Threads that inherit the priority of the first who asks for them."""
    return Crew()


@compiled(nogil=True)
def _attend_fully(  # type: ignore[no-untyped-def]
    state, num_threads, thread, panels, query, key, value, scale, attended
):
    lay_out(state, num_threads, thread, 0, panels, key, value)
    _attend(state, num_threads, thread, 1, panels, query, scale, attended)


@compiled()
def _attend(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, panels, query, scale, attended
):
    """A phase: up to _CHUNK queries of a head a task."""
    scores = stack_array(_STRETCH * TILE, np.float32)
    shares = stack_array(MAX_ROWS * _ROW, panels.keys.dtype)
    sums = stack_array(panels.width // PANEL * TILE, np.float32)
    held = stack_array(2 * MAX_ROWS, np.float32).reshape(2, MAX_ROWS)
    starts = stack_array(2 * _STRETCH, np.int64).reshape(2, _STRETCH)
    num_entries, num_tokens, num_heads = attended.shape[:3]
    num_chunks = (num_tokens + _CHUNK - 1) // _CHUNK
    num_tasks, num_done = num_entries * num_heads * num_chunks, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        entry, head = task // num_chunks // num_heads, task // num_chunks % num_heads
        block = (entry * num_heads + head) * panels.num_kv_heads // num_heads
        first = task % num_chunks * _CHUNK
        for token in range(first, min(first + _CHUNK, num_tokens), MAX_ROWS):
            own = attended[entry, token : token + MAX_ROWS, head]
            start = entry * query.entry_stride + head * query.head_stride
            start += token * query.token_stride
            _attend_tile(
                panels, block, query, start, len(own), scale, scores, shares, sums, held, starts
            )
            for place in range(len(own)):
                put_gathered(own[place], sums, place, held[1, place])
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _attend_tile(  # type: ignore[no-untyped-def]
    panels, block, query, start, count, scale, scores, shares, sums, held, starts
):
    """`count` queries from `start` on: what they gather into `sums`, the totals of their shares
    into held[1]."""
    tops, totals = held[0], held[1]
    tops[:count], totals[:count] = -np.inf, 0
    for part in range(0, len(sums), TILE):
        sums[part : part + count * PANEL] = 0
    for first in range(0, panels.num_panels, _STRETCH):
        num_panels = min(_STRETCH, panels.num_panels - first)
        for panel in range(num_panels):
            starts[0, panel] = key_panel(panels, block, first + panel)
            starts[1, panel] = value_panel(panels, block, first + panel, 0)
        multiply_panels(
            count, panels.keys, starts[0], num_panels, panels.key_size, query.numbers, start,
            query.token_stride, scores,
        )  # fmt: skip
        num_seen = min(num_panels * PANEL, panels.num_positions - first * PANEL)
        for place in range(count):
            share_out(
                scores, place, 0, num_seen, num_panels, scale, tops, totals, sums, shares,
                place * _ROW,
            )  # fmt: skip
        for part in range(panels.width // PANEL):
            offset = value_panel(panels, 0, 0, part * PANEL)
            add_panels(
                count, panels.values, starts[1], offset, num_panels, shares, 0, _ROW,
                sums[part * TILE :],
            )  # fmt: skip
