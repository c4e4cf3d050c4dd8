"""From a configuration to an engine that is ready for steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

import inlay_kernels
from inlay_kernels import Kernels
from inlay_kernels.decoder import PANEL, fits
from inlay_proto import generate_pb2 as pb
from inlay_shard import facts
from inlay_shard.config import DEFAULT_STEP_TOKENS, ShardConfig
from inlay_shard.cuda_graphs.decode_graphs import install_graphs
from inlay_shard.cuda_graphs.graph_plan import plan_graphs
from inlay_shard.encoder.encoder import MAX_BATCH_VALUES
from inlay_shard.encoder.fast_encoder import quicken_attention, quicken_layers
from inlay_shard.errors import ModelRefused, naming_type
from inlay_shard.images.features import FeatureCache
from inlay_shard.machine.memory import measured
from inlay_shard.machine.parallel import Ranks, join
from inlay_shard.model.cache import (
    AttentionLayer,
    KVPool,
    all_alike,
    bytes_per_block,
    choose_num_blocks,
    in_panels,
)
from inlay_shard.model.loading import Report, choose_device, load, quiet
from inlay_shard.model.network import Network
from inlay_shard.proofs import probe
from inlay_shard.proofs.image_probe import prove_images
from inlay_shard.proofs.recurrence import find_recurrent, keep_plain
from inlay_shard.proofs.sample import largest_num_pixels, num_pixels, sample
from inlay_shard.proofs.side_by_side import prove_side_by_side
from inlay_shard.proofs.trial import largest_step_bytes, lay_out_one_row
from inlay_shard.states.pool import bytes_per_slot, choose_num_slots, state_pool
from inlay_shard.states.recurrent_layer import RecurrentLayer
from inlay_shard.steps.constraints import Constraints
from inlay_shard.steps.engine import Engine
from inlay_shard.tower.shortcut import find_shortcut
from inlay_shard.tower.tower import FusedTower, fuse, stream_head


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
    check_quantize(config, device)
    ranks = join(config.rank, config.num_shards, device)
    report("loading weights")
    network = load(config, device, report)
    kernels = inlay_kernels.select(device)
    has_images = takes_images()
    with naming_type(network.config.model_type), quiet():
        with probe.refusing_crashes("pictures"):
            image_bytes = _try_images(network, config, report) if has_images else 0
        with probe.refusing_crashes("a text alone"):
            pool, vocab_size = _fit_attention(network, kernels, config, ranks, image_bytes, report)
        texts = facts.read_texts(config.model)
    eos_token_ids = facts.eos_token_ids(network, texts)
    constraints = None
    if ranks.rank == 0:
        report("reading the tokenizer for grammars")
        constraints = Constraints(texts.tokenizer_json, vocab_size, eos_token_ids)
        constraints.make(config.grammar_backend)
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
        config, network, pool, texts, vocab_size=vocab_size, takes_images=has_images
    )
    return Ready(engine, network, told)


def check_quantize(config: ShardConfig, device: torch.device) -> None:
    """Raise ModelRefused where no model can be served as `config.quantize` asks."""
    if config.quantize is None:
        return
    if device.type != "cpu":
        raise ModelRefused(f"--quantize {config.quantize} is for the CPU. Given: {device.type}")
    if config.num_shards > 1:
        raise ModelRefused(
            f"--quantize {config.quantize} is for one shard. Given: {config.num_shards}"
        )
    if not fits(config.block_size):
        raise ModelRefused(
            f"--quantize {config.quantize} needs a --block-size that is a multiple of {PANEL}. "
            f"Given: {config.block_size}"
        )


def _try_images(network: Network, config: ShardConfig, report: Report) -> int:
    """Prove that images reach the text tower; about what embedding the most at a time takes."""
    report("trying a prompt with pictures")
    prepared = sample(config.model, config.plugins)
    seen = prove_images(network, prepared)
    network.views = seen.views
    names = network.pixel_names(prepared.inputs)
    pixels = {name: torch.from_numpy(prepared.inputs[name]) for name in names}
    with measured(network.device) as peak:
        quicken_attention(network, pixels, seen.embeddings)
    most = largest_num_pixels(config.model, config.plugins)
    largest = max(most, MAX_BATCH_VALUES[network.device.type])
    return peak.num_bytes * largest // max(1, num_pixels(prepared))


def _fit_attention(
    network: Network,
    kernels: Kernels,
    config: ShardConfig,
    ranks: Ranks,
    image_bytes: int,
    report: Report,
) -> tuple[KVPool, int]:
    """Our attention in the text tower, proven; its pool, and the width of the logits."""
    report("fitting attention")
    reference = probe.reference_logits(network)
    layers = probe.install(network)
    recurrent = find_recurrent(network, [layer.module for layer in layers])
    fused = _pack(network, layers, recurrent, config, report) if ranks.num_ranks == 1 else None
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
        vocab_size=reference.shape[1],
    )
    num_slots = choose_num_slots(recurrent, network.device)
    states_bytes = num_slots * bytes_per_slot(recurrent)
    num_blocks = config.num_blocks
    if num_blocks is None:
        report("trying the largest step (the first start compiles it, which takes a while)")
        num_tokens = config.max_batch_tokens or DEFAULT_STEP_TOKENS[network.device.type]
        step_bytes = largest_step_bytes(
            network,
            kernels,
            layers,
            vocab_size=reference.shape[1],
            num_tokens=num_tokens,
            block_size=config.block_size,
            recurrent=recurrent,
        )
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
    return pool, reference.shape[1]


def _prove(
    network: Network, pool: KVPool, fused: FusedTower | None, reference: torch.Tensor
) -> None:
    """Raise ModelRefused unless the logits are the reference (tokens, vocab_size), but for noise.
    A compiled tower that gives others is undone first; one of int8 cannot be."""
    ours = _paged_logits(network, pool, len(reference))
    if fused is not None and fused.agrees(reference, ours):
        lay_out_one_row(0, len(reference), pool)
        network.shortcut = shortcut = find_shortcut(network, fused, len(reference))
        network.rated_shortcut = None if shortcut is None else shortcut.rated
    elif fused is not None and fused.is_quantised:
        raise ModelRefused("with --quantize int8 its logits are too far from its own")
    elif fused is not None:
        fused.undo()
        inlay_kernels.pack_linears(network.model)
        ours = _paged_logits(network, pool, len(reference))
    if fused is None or not fused.is_quantised:
        probe.check_equal(reference, ours, network.dtype)
    prove_side_by_side(network, pool, len(reference))


def _pack(
    network: Network,
    layers: Sequence[AttentionLayer],
    recurrent: Sequence[RecurrentLayer],
    config: ShardConfig,
    report: Report,
) -> FusedTower | None:
    """On the CPU, lay weights out for it: a text tower of the common kind as a whole, and layer by
    layer what is left of the model.

    Raises ModelRefused when int8 is asked for and the tower is of another kind.
    """
    if network.device.type != "cpu":
        return None
    fused, is_quantised = None, config.quantize is not None
    if not fits(config.block_size):
        report(f"blocks of {config.block_size} tokens: slower than multiples of {PANEL}")
    elif network.has_plain_embeddings and all_alike(layers) and not recurrent:
        fused = fuse(network, [layer.module for layer in layers], is_quantised=is_quantised)
    if fused is None and is_quantised:
        raise ModelRefused(
            "--quantize int8 is for text towers like those of Llama, Qwen and SmolVLM, in float32 "
            f"or bfloat16; this one, in {str(network.dtype).removeprefix('torch.')}, is of "
            "another kind"
        )
    if fused is not None:
        report("packing the text tower")
        stream_head(network, is_quantised=is_quantised)
    keep_plain(recurrent)
    inlay_kernels.pack_linears(network.model)
    quicken_layers(network)
    return fused


@torch.inference_mode()
def _paged_logits(network: Network, pool: KVPool, num_tokens: int) -> torch.Tensor:
    """Logits (num_tokens, vocab_size) of the probe over the pool: two prefills, a decode."""
    token_ids, positions = probe.probe_tokens(network, num_tokens)
    cuts = sorted({0, num_tokens // 2, num_tokens - 1, num_tokens})
    pieces = []
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        lay_out_one_row(start, end, pool)
        keep = torch.arange(end - start, device=network.device)
        pieces.append(network.logits(token_ids[start:end], positions[:, start:end], keep))
    return torch.cat(pieces)
