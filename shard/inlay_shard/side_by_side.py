"""Proof at start-up that sequences which run side by side keep their states apart."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from inlay_kernels import AttentionBatch
from inlay_shard import probe
from inlay_shard.cache import KVPool
from inlay_shard.network import Network
from inlay_shard.parts import StateRow
from inlay_shard.trial import one_row

Span: TypeAlias = tuple[int, int]
"""Tokens [start, end) of the probe."""


@torch.inference_mode()
def prove_side_by_side(network: Network, pool: KVPool, reference: Tensor) -> None:
    """Raise ModelRefused unless two sequences with the tokens of the probe, one of them behind the
    other, have the logits of the reference (tokens, vocab_size), but for noise.

    Nothing is tried where the pool has no room for two, or the layers keep no states.
    """
    num_tokens = len(reference)
    num_blocks = -(-num_tokens // pool.block_size)
    if pool.states is None or pool.num_blocks < 2 * num_blocks:
        return
    token_ids, positions = probe.probe_tokens(network, num_tokens)
    for spans in _steps(num_tokens):
        batches = [
            one_row(*span, pool, num_behind=number * num_blocks)
            for number, span in enumerate(spans)
        ]
        pool.current.batch = _beside(batches).to(network.device)
        pool.states.lay_out(
            [
                StateRow(1 - number, end - start, start > 0)
                for number, (start, end) in enumerate(spans)
            ]
        )
        places = torch.cat([torch.arange(*span) for span in spans]).to(network.device)
        keep = torch.arange(len(places), device=network.device)
        ours = network.logits(token_ids[places], positions[:, places], keep)
        probe.check_equal(reference[places], ours, network.dtype)


def _steps(num_tokens: int) -> Iterator[Sequence[Span]]:
    """Chunks and single tokens of two sequences, of which the second begins a step later."""
    half = num_tokens // 2
    cuts = sorted({0, half, half + 1, half + 2, (half + num_tokens) // 2, num_tokens})
    spans = [span for span in zip(cuts, cuts[1:], strict=False) if span[1] <= num_tokens]
    yield spans[:1]
    yield from zip(spans[1:], spans, strict=False)


def _beside(batches: Sequence[AttentionBatch]) -> AttentionBatch:
    """Rows of several batches as one batch."""
    starts = [torch.zeros(1, dtype=torch.int32)]
    for batch in batches:
        starts.append(batch.row_starts[1:] + starts[-1][-1])
    width = max(batch.block_tables.shape[1] for batch in batches)
    tables = [
        functional.pad(batch.block_tables, (0, width - batch.block_tables.shape[1]))
        for batch in batches
    ]
    return AttentionBatch(
        row_starts=torch.cat(starts),
        context_lengths=torch.cat([batch.context_lengths for batch in batches]),
        block_tables=torch.cat(tables),
        slots=torch.cat([batch.slots for batch in batches]),
    )
