"""From a configuration to an engine that is ready for steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

import inlay_kernels
from inlay_kernels import AttentionBatch, Kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard import facts, probe
from inlay_shard.architecture import text_config
from inlay_shard.cache import KVPool, bytes_per_block, choose_num_blocks, step_bytes
from inlay_shard.config import ShardConfig
from inlay_shard.constraints import Constraints
from inlay_shard.engine import Engine
from inlay_shard.features import FeatureCache
from inlay_shard.model import Report, choose_device, load, quiet
from inlay_shard.network import Network
from inlay_shard.parallel import Ranks, join


@dataclass(frozen=True)
class Ready:
    """A loaded model and what runs it."""

    engine: Engine
    network: Network
    facts: pb.ModelFacts


def start(
    config: ShardConfig,
    features: FeatureCache,
    takes_images: Callable[[], bool],
    report: Report,
) -> Ready:
    """Load the model, prove our attention right on it, and make its engine.

    Args:
        config: the operator's choices.
        features: where prepared images are found.
        takes_images: asked once the weights are there; whether a processor for images is ready.
        report: told what is being done.

    Raises:
        ModelRefused: the model cannot be served.
    """
    device = choose_device(config.device, config.rank)
    ranks = join(config.rank, config.num_shards, device)
    report("loading weights")
    network = load(config, device, report)
    kernels = inlay_kernels.select(device)
    with probe.refusing_crashes(), quiet():
        pool, vocab_size = _fit_attention(network, kernels, config, ranks, report)
        texts = facts.read_texts(config.model)
    eos_token_ids = facts.eos_token_ids(network, texts)
    constraints = None
    if ranks.rank == 0:
        report("reading the tokenizer for grammars")
        constraints = Constraints(texts.tokenizer_json, vocab_size, eos_token_ids)
    engine = Engine(
        network,
        pool,
        kernels,
        features,
        constraints,
        ranks,
        vocab_size=vocab_size,
        eos_token_ids=eos_token_ids,
    )
    engine.warm_up()
    told = facts.describe(
        config, network, pool, texts, vocab_size=vocab_size, takes_images=takes_images()
    )
    return Ready(engine, network, told)


def _fit_attention(
    network: Network, kernels: Kernels, config: ShardConfig, ranks: Ranks, report: Report
) -> tuple[KVPool, int]:
    """Our attention in the text tower, proven; its pool, and the width of the logits."""
    report("fitting attention")
    reference = probe.reference_logits(network)
    layers = probe.install(network)
    if network.device.type == "cpu" and ranks.num_ranks == 1:
        inlay_kernels.pack_linears(network.model)
    num_blocks = config.num_blocks
    if num_blocks is None:
        block_bytes = bytes_per_block(layers, config.block_size, network.dtype)
        text = text_config(network.config)
        reserved_bytes = step_bytes(text, config.max_batch_tokens, network.dtype)
        num_blocks = choose_num_blocks(
            block_bytes, config.block_size, network.device, reserved_bytes=reserved_bytes
        )
        num_blocks = int(ranks.least(torch.tensor([num_blocks])).item())
    pool = KVPool(
        layers,
        kernels,
        num_blocks=num_blocks,
        block_size=config.block_size,
        dtype=network.dtype,
        device=network.device,
    )
    num_tokens = min(len(reference), num_blocks * config.block_size)
    ours = _paged_logits(network, pool, num_tokens)
    probe.check_equal(reference[:num_tokens], ours, network.dtype)
    return pool, reference.shape[1]


@torch.inference_mode()
def _paged_logits(network: Network, pool: KVPool, num_tokens: int) -> torch.Tensor:
    """Logits (num_tokens, vocab_size) of the probe over the pool: two prefills, a decode."""
    token_ids, positions = probe.probe_tokens(network, num_tokens)
    cuts = sorted({0, num_tokens // 2, num_tokens - 1, num_tokens})
    pieces = []
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        pool.current.batch = _one_row(start, end, pool).to(network.device)
        keep = torch.arange(end - start, device=network.device)
        pieces.append(network.logits(token_ids[start:end], positions[:, start:end], keep))
    return torch.cat(pieces)


def _one_row(start: int, end: int, pool: KVPool) -> AttentionBatch:
    """Tokens [start, end) of a sequence in the last blocks of the pool, highest first."""
    num_blocks = -(-end // pool.block_size)
    table = torch.arange(pool.num_blocks - 1, pool.num_blocks - 1 - num_blocks, -1)
    own = torch.arange(start, end)
    return AttentionBatch(
        row_starts=torch.tensor([0, end - start], dtype=torch.int32),
        context_lengths=torch.tensor([end], dtype=torch.int32),
        block_tables=table.to(torch.int32).unsqueeze(0),
        slots=table[own // pool.block_size] * pool.block_size + own % pool.block_size,
    )
