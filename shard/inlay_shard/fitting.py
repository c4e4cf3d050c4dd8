"""A loaded model with our attention in it, proven, over a KV pool that fits into memory."""

from collections.abc import Sequence

import torch

import inlay_kernels
from inlay_kernels import Kernels
from inlay_shard.config import DEFAULT_STEP_TOKENS, ShardConfig
from inlay_shard.cuda_graphs.decode_graphs import install_graphs
from inlay_shard.cuda_graphs.graph_plan import plan_graphs
from inlay_shard.errors import ModelRefused
from inlay_shard.machine.parallel import Ranks
from inlay_shard.model.cache import (
    AttentionLayer,
    KVPool,
    bytes_per_block,
    choose_num_blocks,
    in_panels,
)
from inlay_shard.model.loading import Report
from inlay_shard.model.network import Network
from inlay_shard.proofs import probe
from inlay_shard.proofs.recurrence import find_recurrent
from inlay_shard.proofs.side_by_side import prove_side_by_side
from inlay_shard.proofs.trial import largest_step_bytes, lay_out_one_row
from inlay_shard.states.pool import bytes_per_slot, choose_num_slots, state_pool
from inlay_shard.states.recurrent_layer import RecurrentLayer
from inlay_shard.tower.packing import pack
from inlay_shard.tower.shortcut import find_shortcut
from inlay_shard.tower.tower import FusedTower


def fit_attention(
    network: Network,
    kernels: Kernels,
    config: ShardConfig,
    ranks: Ranks,
    image_bytes: int,
    report: Report,
) -> tuple[KVPool, int]:
    """The pool of a model that has our attention from now on, and the width of its logits.

    image_bytes: to be left for embedding images. Raises ModelRefused when the model does not
    compute with it what it computes with its own, or does not fit.
    """
    report("fitting attention")
    reference = probe.reference_logits(network)
    vocab_size = reference.shape[1]
    layers = probe.install(network)
    recurrent = find_recurrent(network, [layer.module for layer in layers])
    fused = pack(network, layers, recurrent, config, report) if ranks.num_ranks == 1 else None
    if fused is not None:
        layers = in_panels(layers)
    plan = plan_graphs(
        network,
        kernels,
        layers,
        ranks,
        report,
        sizes=() if recurrent else config.cuda_graphs,
        block_size=config.block_size,
        vocab_size=vocab_size,
    )
    num_slots = choose_num_slots(recurrent, network.device)
    num_blocks = config.num_blocks
    if num_blocks is None:
        report("trying the largest step (the first start compiles it, which takes a while)")
        step_bytes = _largest_step_bytes(network, kernels, layers, recurrent, config, vocab_size)
        states_bytes = num_slots * bytes_per_slot(recurrent)
        num_blocks = choose_num_blocks(
            bytes_per_block(layers, config.block_size, network.dtype),
            config.block_size,
            network.device,
            reserved_bytes=step_bytes + image_bytes + plan.num_bytes + states_bytes,
        )
        num_blocks = int(ranks.least(torch.tensor([num_blocks])).item())
    pool = KVPool(
        layers,
        kernels,
        num_blocks=num_blocks,
        block_size=config.block_size,
        dtype=network.dtype,
        device=network.device,
        num_scratch_blocks=plan.num_scratch_blocks,
        states=state_pool(recurrent, num_slots, network.device),
    )
    num_tokens = min(len(reference), num_blocks * config.block_size)
    _prove(network, pool, fused, reference[:num_tokens])
    install_graphs(network, pool, plan, ranks, report)
    return pool, vocab_size


def _largest_step_bytes(
    network: Network,
    kernels: Kernels,
    layers: Sequence[AttentionLayer],
    recurrent: Sequence[RecurrentLayer],
    config: ShardConfig,
    vocab_size: int,
) -> int:
    """Memory of the largest step that the operator allows."""
    return largest_step_bytes(
        network,
        kernels,
        layers,
        vocab_size=vocab_size,
        num_tokens=config.max_batch_tokens or DEFAULT_STEP_TOKENS[network.device.type],
        block_size=config.block_size,
        recurrent=recurrent,
    )


def _prove(
    network: Network, pool: KVPool, fused: FusedTower | None, reference: torch.Tensor
) -> None:
    """Raise ModelRefused unless the logits are the reference (tokens, vocab_size), but for noise.
    A compiled tower that gives others is undone first; one of int8 cannot be."""
    ours = paged_logits(network, pool, len(reference))
    if fused is not None and fused.agrees(reference, ours):
        lay_out_one_row(0, len(reference), pool)
        network.shortcut = shortcut = find_shortcut(network, fused, len(reference))
        network.rated_shortcut = None if shortcut is None else shortcut.rated
    elif fused is not None and fused.is_quantised:
        raise ModelRefused("with --quantize int8 its logits are too far from its own")
    elif fused is not None:
        fused.undo()
        inlay_kernels.pack_linears(network.model)
        ours = paged_logits(network, pool, len(reference))
    if fused is None or not fused.is_quantised:
        probe.check_equal(reference, ours, network.dtype)
    prove_side_by_side(network, pool, len(reference))


@torch.inference_mode()
def paged_logits(network: Network, pool: KVPool, num_tokens: int) -> torch.Tensor:
    """Logits (num_tokens, vocab_size) of the probe over the pool: two prefills, a decode."""
    token_ids, positions = probe.probe_tokens(network, num_tokens)
    cuts = sorted({0, num_tokens // 2, num_tokens - 1, num_tokens})
    pieces = []
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        lay_out_one_row(start, end, pool)
        keep = torch.arange(end - start, device=network.device)
        pieces.append(network.logits(token_ids[start:end], positions[:, start:end], keep))
    return torch.cat(pieces)
