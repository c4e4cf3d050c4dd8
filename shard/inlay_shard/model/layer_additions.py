"""What text towers add to hidden states at the places of images, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inlay_shard.model.sight import names_of


class LayerAdditions(Protocol):
    """How one kind of text tower is told what to add, one tensor for each of some layers."""

    def arguments(self, added: Sequence[Tensor]) -> dict[str, Any]:
        """Arguments of the tower. added: (1, tokens, hidden) each, for all tokens, mostly zeros."""

    def take(self, handed: dict[str, Any]) -> list[Tensor]:
        """The same out of arguments: (tokens, hidden) each; none if there is nothing to add."""


class BehindFirstLayers:
    """Behind the first layers, one after the other: Qwen3-VL and its kin."""

    def arguments(self, added: Sequence[Tensor]) -> dict[str, Any]:
        """As LayerAdditions says."""
        everywhere = torch.ones(added[0].shape[:2], dtype=torch.bool, device=added[0].device)
        return {
            "visual_pos_masks": everywhere,
            "deepstack_visual_embeds": [entry[0] for entry in added],
        }

    def take(self, handed: dict[str, Any]) -> list[Tensor]:
        """As LayerAdditions says."""
        mask = handed.pop("visual_pos_masks", None)
        found = handed.pop("deepstack_visual_embeds", None) or ()
        return [_everywhere(entry, mask[0]) for entry in found]


class BeforeNamedLayers:
    """In front of layers of the model's choice, told by their numbers: Granite 4 Vision."""

    def __init__(self, config: Any) -> None:
        """config: of the whole model."""
        layers = {layer for _, layer in config.deepstack_layer_map}
        self._layers = sorted(layers | set(config.spatial_target_layers))

    def arguments(self, added: Sequence[Tensor]) -> dict[str, Any]:
        """As LayerAdditions says."""
        everywhere = torch.ones_like(added[0][..., :1], dtype=torch.bool)
        by_layer = zip(self._layers, added, strict=True)
        return {
            "vision_mask": everywhere,
            "deepstack_features": {layer: entry[0] for layer, entry in by_layer},
        }

    def take(self, handed: dict[str, Any]) -> list[Tensor]:
        """As LayerAdditions says."""
        mask = handed.pop("vision_mask", None)
        found: Mapping[int, Tensor] = handed.pop("deepstack_features", None) or {}
        return [_everywhere(found[layer], mask[0, :, 0]) for layer in sorted(found)]


def find_layer_additions(model: PreTrainedModel) -> LayerAdditions | None:
    """None where a text tower adds nothing."""
    names = names_of(model.get_decoder().forward)
    if "deepstack_visual_embeds" in names:
        return BehindFirstLayers()
    if "deepstack_features" in names:
        return BeforeNamedLayers(model.config)
    return None


def _everywhere(added: Tensor, is_image: Tensor) -> Tensor:
    """(tokens, hidden): rows of `added` where `is_image`, zeros elsewhere."""
    whole = added.new_zeros(len(is_image), added.shape[-1])
    whole[is_image] = added
    return whole
