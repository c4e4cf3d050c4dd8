"""The encoder of images by what is fast on a CPU: proven at start, and left alone where it is not.

Its code stays that of `transformers`. What changes: attention, where activations are taken, and how
the first hidden states lie in memory.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inlay_shard.encoder.encoder_attention import FULL, FULL_ALWAYS, register
from inlay_shard.encoder.fused_activations import fuse_activations
from inlay_shard.model.network import Network

_REPLACED: Final = "sdpa"
"""The attention of `transformers` that ours takes the place of."""
_TOLERANCES: Final = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Largest difference of embeddings, in units of the largest one."""


@torch.inference_mode()
def quicken_attention(network: Network, pixels: Mapping[str, Tensor], known: Tensor) -> bool:
    """Let the encoder of a network attend by our kernel, if it then makes the same embeddings.

    Embeds once in any case, so that the memory which that takes can be measured.

    pixels: of the sample's pictures. known: what the encoder makes of them by its own attention.
    """
    towers = [] if network.dtype not in _TOLERANCES else list(_towers(network))
    register()
    for tower in towers:
        tower.set_attn_implementation(FULL_ALWAYS)
    is_same = _is_same(network, pixels, known)
    for tower in towers:
        tower.set_attn_implementation(FULL if is_same else _REPLACED)
    return is_same and bool(towers)


def quicken_layers(network: Network) -> None:
    """Let packed layers of the encoder take activations, and rows of hidden states lie in one
    piece."""
    fuse_activations(outside(network))
    for module in outside(network):
        if isinstance(module, nn.ModuleList) and len(module):
            module[0].register_forward_pre_hook(_straighten, with_kwargs=True)


def outside(network: Network) -> Iterator[nn.Module]:
    """All modules that are not of the text tower."""
    tower = set(network.text_tower.modules())
    return (module for module in network.model.modules() if module not in tower)


def _towers(network: Network) -> Iterator[PreTrainedModel]:
    """Parts on the CPU whose attention can be replaced, none of which holds the text tower."""
    if network.device.type != "cpu":
        return
    for module in outside(network):
        if isinstance(module, PreTrainedModel) and network.text_tower not in module.modules():
            is_plain = module.config._attn_implementation == _REPLACED
            if is_plain and module._can_set_attn_implementation():
                yield module


def _is_same(network: Network, pixels: Mapping[str, Tensor], known: Tensor) -> bool:
    try:
        embeddings = network.encode_images(pixels)
    except Exception:  # whatever its code meets with an attention that it does not know
        return False
    if embeddings.shape != known.shape or network.dtype not in _TOLERANCES:
        return False
    difference = (embeddings.float() - known.float()).abs().max()
    return bool(difference <= _TOLERANCES[network.dtype] * known.float().abs().max())


def _straighten(
    layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hidden states as a convolution left them, column by column, would stay like that in every
    sum behind, and be copied by every norm."""
    straight = tuple(_row_by_row(entry) for entry in arguments)
    return straight, {name: _row_by_row(entry) for name, entry in named.items()}


def _row_by_row(entry: Any) -> Any:
    is_turned = isinstance(entry, Tensor) and entry.dim() == 3 and entry.stride(-1) != 1
    return entry.contiguous() if is_turned else entry
