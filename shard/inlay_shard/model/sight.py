"""How a model takes images in: found in its code, or as its adapter says."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.configuration_utils import PretrainedConfig

from inlay_shard.adapter import ImageAdapter
from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import text_config


class Sight(Protocol):
    """How a model takes images in."""

    @property
    def image_token_id(self) -> int | None:
        """Placeholder of images in a prompt; None when the model takes no images."""

    @property
    def num_position_axes(self) -> int:
        """1, or mostly 3 when positions have a time, a height and a width (M-RoPE)."""

    @property
    def has_own_positions(self) -> bool:
        """Whether images change the positions of tokens."""

    @property
    def encoder(self) -> Any | None:
        """The part of the model with `get_image_features`; None when there is none."""

    def pixel_names(self, inputs: Iterable[str]) -> list[str]:
        """Those of the processor's outputs from which images are embedded."""

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """Embeddings (n, width) of images, from what `pixel_names` names, placed."""

    def positions(self, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Positions (axes, tokens) of a prompt with images; None when they simply count up."""


class FoundSight:
    """By the conventions of `transformers`: methods and arguments by their names."""

    def __init__(self, model: PreTrainedModel, *, adds_to_layers: bool) -> None:
        """adds_to_layers: whether embeddings may be wider than hidden states."""
        self.encoder = _with_method(model, "get_image_features")
        projecting = _with_method(model, "multi_modal_projector")
        self._projector = getattr(projecting, "multi_modal_projector", None)
        self._adds_to_layers = adds_to_layers
        self._image_names = frozenset[str]().union(
            *(names_of(getattr(part, "get_image_features", None)) for part in _parts(model))
        )
        self._positioner = _with_method(model, "get_rope_index")
        self.has_own_positions = self._positioner is not None
        self.num_position_axes = _num_axes(model.config) if self.has_own_positions else 1
        self.image_token_id = _image_token_id(model.config) if self._image_names else None

    def pixel_names(self, inputs: Iterable[str]) -> list[str]:
        """As Sight says."""
        return [name for name in inputs if name in self._image_names]

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """As Sight says. Raises ModelRefused."""
        assert self.encoder is not None
        output = self.encoder.get_image_features(**pixels, return_dict=True)
        added = _added(output)
        if added and not self._adds_to_layers:
            raise ModelRefused("it adds images to its hidden states in a way that is not supported")
        return torch.cat([self._embeddings(output, added), *added], -1)

    def _embeddings(self, output: Any, added: list[Tensor]) -> Tensor:
        """(n, hidden): those that the encoder made, or that its projector makes of its states;
        zeros where there is only what is added."""
        if getattr(output, "pooler_output", None) is not None:
            return _flat(output.pooler_output)
        if added:
            return torch.zeros_like(added[0])
        states = _flat(output.last_hidden_state)
        projected: Tensor = self._projector(states) if self._projector is not None else states
        return projected

    def positions(self, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """As Sight says."""
        if self._positioner is None:
            return None
        index = self._positioner.get_rope_index
        known = names_of(index) - {"attention_mask"}
        named = {name: entry for name, entry in inputs.items() if name in known}
        positions: Tensor = index(token_ids.unsqueeze(0), **named)[0]
        return positions[:, 0]


class AdaptedSight:
    """As the model's adapter says."""

    encoder = None

    def __init__(self, model: PreTrainedModel, adapter: ImageAdapter) -> None:
        self._model = model
        self._adapter = adapter
        self.image_token_id = adapter.image_token_id
        self.num_position_axes = adapter.num_position_axes
        self.has_own_positions = type(adapter).positions is not ImageAdapter.positions

    def pixel_names(self, inputs: Iterable[str]) -> list[str]:
        """All: what an adapter makes of an image is for the encoder."""
        return list(inputs)

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """As Sight says."""
        return self._adapter.features(self._model, pixels)

    def positions(self, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """As Sight says."""
        return self._adapter.positions(self._model, token_ids, inputs)


def names_of(function: Callable[..., Any] | None) -> frozenset[str]:
    """Names of its parameters; none for no function."""
    return frozenset(inspect.signature(function).parameters if function else ())


def _image_token_id(config: Any) -> int | None:
    for name in ("image_token_id", "image_token_index"):
        if (token_id := getattr(config, name, None)) is not None:
            return int(token_id)
    return None


def _num_axes(config: PretrainedConfig) -> int:
    """Of positions: as many as share the rotation, which HunYuan-VL counts one more of."""
    rope = getattr(text_config(config), "rope_parameters", None) or {}
    return len(rope.get("mrope_section") or (0, 0, 0))


def _parts(model: Any) -> Iterator[Any]:
    """The model, and what is in it under its head."""
    yield model
    yield getattr(model, "model", None)


def _with_method(model: Any, name: str) -> Any | None:
    """The outermost part of the model with a method of this name."""
    return next((part for part in _parts(model) if hasattr(part, name)), None)


def _added(output: Any) -> list[Tensor]:
    """What an encoder's output adds to hidden states: (n, hidden) for each layer, in their order.

    Some name the layer; what comes last for it stands.
    """
    found = getattr(output, "deepstack_features", None) or []
    if found and isinstance(found[0][0], int):
        found = [features for _, features in sorted(dict(found).items())]
    return [_flat(entry) for entry in found]


def _flat(features: Any) -> Tensor:
    """Embeddings (n, hidden) of images one after the other, in a tensor or a list of them."""
    if isinstance(features, Tensor):
        return features.reshape(-1, features.shape[-1])
    return torch.cat([_flat(entry) for entry in features])
