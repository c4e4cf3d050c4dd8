"""Weights laid out for the CPU: a text tower as a whole, else layer by layer."""

from collections.abc import Sequence

import torch

import inlay_kernels
from inlay_kernels.decoder import PANEL, fits
from inlay_shard.config import ShardConfig
from inlay_shard.encoder.fast_encoder import quicken_layers
from inlay_shard.errors import ModelRefused
from inlay_shard.model.cache import AttentionLayer, all_alike
from inlay_shard.model.loading import Report
from inlay_shard.model.network import Network
from inlay_shard.proofs.recurrence import keep_plain
from inlay_shard.states.recurrent_layer import RecurrentLayer
from inlay_shard.tower.tower import FusedTower, fuse, stream_head


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


def pack(
    network: Network,
    layers: Sequence[AttentionLayer],
    recurrent: Sequence[RecurrentLayer],
    config: ShardConfig,
    report: Report,
) -> FusedTower | None:
    """On the CPU, lay weights out for it: a text tower of the common kind as a whole, and layer by
    layer what is left of the model.

    recurrent: layers that keep states; no compiled tower has such.

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
