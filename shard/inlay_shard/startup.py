"""From a configuration to an engine that is ready for steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

import inlay_kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard import facts
from inlay_shard.config import ShardConfig
from inlay_shard.encoder.encoder import MAX_BATCH_VALUES
from inlay_shard.encoder.fast_encoder import quicken_attention
from inlay_shard.errors import naming_type
from inlay_shard.fitting import fit_attention
from inlay_shard.images.features import FeatureCache
from inlay_shard.machine.memory import measured
from inlay_shard.machine.parallel import join
from inlay_shard.model.loading import Report, choose_device, load, quiet
from inlay_shard.model.network import Network
from inlay_shard.proofs import probe
from inlay_shard.proofs.image_probe import prove_images
from inlay_shard.proofs.sample import largest_num_pixels, num_pixels, sample
from inlay_shard.steps.constraints import Constraints
from inlay_shard.steps.engine import Engine
from inlay_shard.tower.packing import check_quantize


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
            pool, vocab_size = fit_attention(network, kernels, config, ranks, image_bytes, report)
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
