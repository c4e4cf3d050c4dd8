"""A loaded model as the engine sees it: token ids in, logits out, images embedded on the way."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.configuration_utils import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPast

from inlay_shard.architecture import text_config


class Network:
    """The modelling code of `transformers`, unmodified, over one flattened batch."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.text_tower: PreTrainedModel = model.get_decoder()
        self._forward_names = _names(model.forward)
        self._keeps_logits = "logits_to_keep" in self._forward_names
        self._image_names = _names(getattr(model, "get_image_features", None))

    @property
    def config(self) -> PretrainedConfig:
        """The configuration of the whole model."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        return self.model.dtype

    @property
    def num_embeddings(self) -> int:
        """Token ids are below this number."""
        embeddings: Any = self.model.get_input_embeddings()
        return int(embeddings.num_embeddings)

    @property
    def image_token_id(self) -> int | None:
        """Placeholder of images in a prompt; None when the model takes no images."""
        if not self._image_names:
            return None
        for name in ("image_token_id", "image_token_index"):
            if (token_id := getattr(self.config, name, None)) is not None:
                return int(token_id)
        return None

    @property
    def num_position_axes(self) -> int:
        """1, or 3 when positions have a time, a height and a width (M-RoPE)."""
        rope = getattr(text_config(self.config), "rope_parameters", None) or {}
        return 3 if "mrope_section" in rope else 1

    @property
    def takes_bidirectional_images(self) -> bool:
        """Whether tokens of an image look at each other in both directions."""
        return bool(self._image_names) and "token_type_ids" in self._forward_names

    def embed(self, token_ids: Tensor, places: Tensor, features: Tensor) -> Tensor:
        """Embeddings (tokens, hidden) of `token_ids`, with `features` (n, hidden) at `places`."""
        token_ids = token_ids.index_fill(0, places, 0)  # a placeholder may have no embedding
        embeddings: Tensor = self.model.get_input_embeddings()(token_ids.unsqueeze(0))[0]
        return embeddings.index_copy(0, places, features.to(embeddings.dtype))

    def logits(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """Logits (len(keep), vocab_size) of the tokens of a flattened batch that `keep` names.

        token_ids: int64 (tokens,). position_ids: int64 (axes, tokens). embeddings: (tokens,
        hidden), instead of those of `token_ids`.
        """
        positions = position_ids if len(position_ids) == 1 else position_ids.unsqueeze(1)
        inputs = {"input_ids": token_ids.unsqueeze(0)}
        if embeddings is not None:
            inputs = {"inputs_embeds": embeddings.unsqueeze(0)}
        return self._call(keep, position_ids=positions, **inputs)

    def _call(self, keep: Tensor, **inputs: Any) -> Tensor:
        if self._keeps_logits:
            inputs["logits_to_keep"] = keep
        logits: Tensor = self.model(use_cache=False, return_dict=True, **inputs).logits[0]
        return logits if self._keeps_logits else logits[keep]

    @contextmanager
    def keeping_hidden(self) -> Iterator[list[Tensor]]:
        """Within, each forward pass appends the text tower's last states (tokens, hidden)."""
        kept: list[Tensor] = []

        def keep(module: object, arguments: object, output: Any) -> None:
            kept.append(output[0][0])

        handle = self.text_tower.register_forward_hook(keep)
        try:
            yield kept
        finally:
            handle.remove()

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocab_size) of last hidden states (n, hidden).

        Calls the whole model with a text tower that answers `hidden`, so that whatever the model
        does behind its tower (scaling, capping) is done here too.
        """
        answer = BaseModelOutputWithPast(last_hidden_state=hidden.unsqueeze(0))
        keep = torch.arange(len(hidden), device=hidden.device)
        self.text_tower.__dict__["forward"] = lambda *arguments, **named: answer
        try:
            return self._call(keep, inputs_embeds=hidden.unsqueeze(0))
        finally:
            del self.text_tower.__dict__["forward"]

    def pixel_names(self, inputs: Iterable[str]) -> list[str]:
        """Those of the processor's outputs from which images are embedded."""
        return [name for name in inputs if name in self._image_names]

    def encode_images(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """Embeddings (n, hidden) that replace the placeholders of a prompt's images, in order.

        pixels: what `pixel_names` names, made by the model's processor.
        """
        inputs = {name: tensor.to(self.device) for name, tensor in pixels.items()}
        model: Any = self.model
        output = model.get_image_features(**inputs, return_dict=True).pooler_output
        features: Tensor = torch.cat(list(output)) if not isinstance(output, Tensor) else output
        return features.reshape(-1, features.shape[-1]).to(self.dtype)

    def image_positions(self, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Positions (3, tokens) of a prompt with images; None when they simply count up.

        inputs: what the model's processor made of the prompt.
        """
        if self.num_position_axes == 1:
            return None
        named = {k: v for k, v in inputs.items() if k in ("image_grid_thw", "mm_token_type_ids")}
        inner: Any = self.model.model
        positions: Tensor = inner.get_rope_index(token_ids.unsqueeze(0), **named)[0]
        return positions[:, 0]


def _names(function: Callable[..., Any] | None) -> frozenset[str]:
    """Names of its parameters; none for no function."""
    return frozenset(inspect.signature(function).parameters if function else ())
