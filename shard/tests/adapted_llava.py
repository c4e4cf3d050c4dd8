"""LLaVA as if it followed no conventions: plugins with an adapter that is right, or wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from inlay_shard.adapter import ImageAdapter
from inlay_shard.model.plugins import Adapters

Inputs = Mapping[str, Tensor]


class LlavaAdapter(ImageAdapter):
    """Right in all it says."""

    image_token = "<image>"

    def __init__(self, folder: Path, config: Any) -> None:
        super().__init__(folder, config)
        self._processor: Any = AutoImageProcessor.from_pretrained(folder)

    def process(self, image: Image.Image) -> Inputs:
        """By the image processor of the folder."""
        if image.size == (1, 1):
            raise ValueError("one pixel is no picture")
        return dict(self._processor([image], return_tensors="pt"))

    def expand(self, inputs: Inputs) -> str:
        """One placeholder for each embedding."""
        return self.image_token * 16

    def features(self, model: Any, inputs: Inputs) -> Tensor:
        """By the encoder of the model."""
        output = model.get_image_features(**inputs, return_dict=True)
        return torch.cat(list(output.pooler_output)).flatten(0, -2)


class WrongFeatures(LlavaAdapter):
    """Its embeddings are not those of the model."""

    def features(self, model: Any, inputs: Inputs) -> Tensor:
        """Twice what they are."""
        return 2 * super().features(model, inputs)


class WrongPositions(LlavaAdapter):
    """Numbers tokens as the model does not."""

    def positions(self, model: Any, token_ids: Tensor, inputs: Inputs) -> Tensor:
        """Two tokens at each position."""
        return torch.arange(len(token_ids)).unsqueeze(0) // 2


class UnknownNames(WrongPositions):
    """The model's forward knows nothing of what it makes, so that nothing can be compared."""

    def process(self, image: Image.Image) -> Inputs:
        """By names of its own."""
        return {f"my_{name}": entry for name, entry in super().process(image).items()}

    def features(self, model: Any, inputs: Inputs) -> Tensor:
        """By the model's names."""
        return super().features(model, {n.removeprefix("my_"): e for n, e in inputs.items()})


class UnknownToken(LlavaAdapter):
    """Its placeholder is no token of the tokenizer."""

    image_token: ClassVar[str] = "<picture>"


def register() -> Adapters:
    """The plugin that is right."""
    return {"llava": LlavaAdapter}


def wrong_features() -> Adapters:
    """A plugin."""
    return {"llava": WrongFeatures}


def wrong_positions() -> Adapters:
    """A plugin."""
    return {"llava": WrongPositions}


def unknown_names() -> Adapters:
    """A plugin."""
    return {"llava": UnknownNames}


def unknown_token() -> Adapters:
    """A plugin."""
    return {"llava": UnknownToken}
