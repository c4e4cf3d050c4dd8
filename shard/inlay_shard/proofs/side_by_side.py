"""Proof at start-up that sequences which run side by side keep their states apart."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from inlay_kernels import AttentionBatch
from inlay_shard.model.cache import KVPool
from inlay_shard.model.network import Network
from inlay_shard.proofs import probe
from inlay_shard.proofs.trial import one_row
from inlay_shard.states.parts import StateRow

Span: TypeAlias = tuple[int, int]
"""Tokens [start, end) of the probe."""


@torch.inference_mode()
def prove_side_by_side(network: Network, pool: KVPool, num_tokens: int) -> None:
    """Raise ModelRefused unless two sequences with the first tokens of the probe, one of them a
    step behind the other, have the logits of one that is alone, but for noise.

    Nothing is tried where the pool has no room for two, or the layers keep no states.
    """
    if pool.states is None or pool.num_blocks < 2 * -(-num_tokens // pool.block_size):
        return
    cuts = _cuts(num_tokens)
    alone = torch.cat([_logits(network, pool, [span]) for span in cuts])
    steps: list[Sequence[Span]] = [cuts[:1], *zip(cuts[1:], cuts, strict=False), cuts[-1:]]
    for spans in steps:
        places = torch.cat([torch.arange(*span) for span in spans])
        ours = _logits(network, pool, spans, first=int(spans is steps[-1]))
        probe.check_equal(alone[places.to(alone.device)], ours, network.dtype)


def _logits(network: Network, pool: KVPool, spans: Sequence[Span], *, first: int = 0) -> Tensor:
    """Logits (tokens, vocab_size) of sequences `first`, `first` + 1, … that compute such spans."""
    assert pool.states is not None
    numbers = range(first, first + len(spans))
    num_blocks = pool.num_blocks // 2
    batches = [
        one_row(*span, pool, num_behind=number * num_blocks)
        for number, span in zip(numbers, spans, strict=True)
    ]
    rows = zip(numbers, spans, strict=True)
    pool.current.batch = _beside(batches).to(network.device)
    pool.states.lay_out([StateRow(1 - n, end - start, start > 0) for n, (start, end) in rows])
    places = torch.cat([torch.arange(*span) for span in spans]).to(network.device)
    token_ids, positions = probe.probe_tokens(network)
    keep = torch.arange(len(places), device=network.device)
    return network.logits(token_ids[places], positions[:, places], keep)


def _cuts(num_tokens: int) -> list[Span]:
    """Chunks and single tokens of a sequence."""
    half = num_tokens // 2
    cuts = sorted({0, half, half + 1, half + 2, (half + num_tokens) // 2, num_tokens})
    return [span for span in zip(cuts, cuts[1:], strict=False) if span[1] <= num_tokens]


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
