"""The largest step, tried at start-up: it shows what steps take beside the KV pool."""

from collections.abc import Sequence

import torch

from inlay_kernels import AttentionBatch, Kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.machine.memory import measured
from inlay_shard.model.architecture import max_positions
from inlay_shard.model.cache import AttentionLayer, KVPool
from inlay_shard.model.network import Network
from inlay_shard.sampling.controls import SamplingRow
from inlay_shard.sampling.sampler import RowMasks, Sampler
from inlay_shard.states.parts import StateRow
from inlay_shard.states.pool import state_pool
from inlay_shard.states.recurrent_layer import RecurrentLayer

NUM_CHOOSING = 128
"""Rows that choose a token in the largest step."""
_NUM_WARMING = 16
"""Tokens of a step before it, after which what is allocated once and kept is there."""
_MAX_TOKENS = {"cpu": 512, "cuda": 1 << 16}
"""Tokens that are tried at most, by device; what larger steps take is in proportion."""


@torch.inference_mode()
def largest_step_bytes(
    network: Network,
    kernels: Kernels,
    layers: Sequence[AttentionLayer],
    *,
    vocab_size: int,
    num_tokens: int,
    block_size: int,
    recurrent: Sequence[RecurrentLayer] = (),
) -> int:
    """Memory that a step of `num_tokens` prompt tokens takes at its peak, beside the KV pool.

    Attaches a pool of its own to the layers; the one that stays is to be attached afterwards.
    """
    num_tried = min(
        num_tokens, _MAX_TOKENS[network.device.type], max_positions(network.config) or num_tokens
    )
    pool = KVPool(
        layers,
        kernels,
        num_blocks=-(-num_tried // block_size),
        block_size=block_size,
        dtype=network.dtype,
        device=network.device,
        states=state_pool(recurrent, 1, network.device),
    )
    sampler = Sampler(vocab_size, network.device, kernels)
    _step(network, pool, sampler, min(num_tried, _NUM_WARMING))
    with measured(network.device) as peak:
        _step(network, pool, sampler, num_tried)
    return peak.num_bytes * num_tokens // num_tried


def _step(network: Network, pool: KVPool, sampler: Sampler, num_tokens: int) -> None:
    """A prefill whose last tokens all choose, drawn with every control and under a mask."""
    token_ids = torch.zeros(num_tokens, dtype=torch.int64, device=network.device)
    positions = torch.arange(num_tokens, device=network.device)
    positions = positions.expand(network.num_position_axes, -1)
    keep = torch.arange(max(0, num_tokens - NUM_CHOOSING), num_tokens, device=network.device)
    lay_out_one_row(0, num_tokens, pool)
    logits = network.logits(token_ids, positions, keep)
    sampling = pb.Sampling(do_sample=True, top_k=1, top_p=0.5, typical_p=0.5)
    row = SamplingRow(sampling=sampling, prompt_ids=[0], output_ids=[])
    packed = torch.full((len(keep), -(-logits.shape[1] // 32)), -1, dtype=torch.int32)
    masks = RowMasks(row_indices=range(len(keep)), packed=packed)
    sampler.choose(logits, [row] * len(keep), masks)


def lay_out_one_row(start: int, end: int, pool: KVPool) -> None:
    """Let the next pass of the model compute tokens [start, end) of a sequence."""
    pool.current.batch = one_row(start, end, pool).to(pool.device)
    if pool.states is not None:
        pool.states.lay_out([StateRow(0, end - start, start > 0)])


def one_row(start: int, end: int, pool: KVPool, *, num_behind: int = 0) -> AttentionBatch:
    """Tokens [start, end) of a sequence in the last blocks of the pool, highest first.

    num_behind: blocks that are left free behind them.
    """
    num_blocks = -(-end // pool.block_size)
    highest = pool.num_blocks - 1 - num_behind
    table = torch.arange(highest, highest - num_blocks, -1)
    own = torch.arange(start, end)
    return AttentionBatch(
        row_starts=torch.tensor([0, end - start], dtype=torch.int32),
        context_lengths=torch.tensor([end], dtype=torch.int32),
        block_tables=table.to(torch.int32).unsqueeze(0),
        slots=table[own // pool.block_size] * pool.block_size + own % pool.block_size,
    )
