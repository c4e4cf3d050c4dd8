"""Images, alone or in a prompt, through the model's own processor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.pictures import read_picture
from inlay_shard.images.processor import load_processor
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.speakable import reason_of
from inlay_shard.model.architecture import text_config

_TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
"""What processors make beside each token id."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prompt with images, as the model takes it."""

    token_ids: NDArray[np.int64]
    """(tokens,), placeholders included."""
    places: NDArray[np.int64]
    """Positions of the placeholders, ascending: (n,)."""
    spans: list[tuple[int, int]]
    """Half-open interval of each image, from its first placeholder to behind its last."""
    inputs: Mapping[str, NDArray[Any]]
    """What else the processor made, by argument name of the model; without pixels if spliced."""


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """One image as the processor shows it to the model, in any prompt."""

    token_ids: NDArray[np.int64]
    """What takes the image's place in a prompt: (n,)."""
    token_types: Mapping[str, NDArray[Any]]
    """Values beside each of these tokens, by argument name of the model: (n,); 0 beside text."""
    num_places: int
    """How many of the tokens are placeholders, each for one embedding."""
    inputs: Mapping[str, NDArray[Any]]
    """What else the processor made, by argument name of the model."""

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        others = (*self.token_types.values(), *self.inputs.values())
        return self.token_ids.nbytes + sum(array.nbytes for array in others)


class Preparer:
    """Joins text and images and hands them to the processor."""

    def __init__(self, processor: Any, recipe: Recipe) -> None:
        self._processor = processor
        self.recipe = recipe
        """How prompts are written; nothing is proven about splicing them."""

    def expand(self, data: bytes) -> Expansion:
        """An image as it stands in any prompt. Raises PreparationRefused."""
        inputs = self._process(self.recipe.image_token, [read_picture(data)], False)
        token_ids = inputs.pop("input_ids")[0].astype(np.int64)
        num_places = int((token_ids == self.recipe.image_token_id).sum())
        if not num_places:
            raise PreparationRefused("the image has no place in a prompt")
        names = [name for name in _TOKEN_TYPES if name in inputs]
        return Expansion(
            token_ids=token_ids,
            token_types={name: inputs.pop(name)[0] for name in names},
            num_places=num_places,
            inputs=inputs,
        )

    def prepare(self, pieces: Sequence[Piece], add_special_tokens: bool) -> Prepared:
        """Token ids and inputs of a prompt. Raises PreparationRefused."""
        text = self.recipe.write(pieces)
        images = [read_picture(piece) for piece in pieces if isinstance(piece, bytes)]
        inputs = self._process(text, images, add_special_tokens)
        token_ids = inputs.pop("input_ids")[0].astype(np.int64)
        places = np.flatnonzero(token_ids == self.recipe.image_token_id)
        if not len(places):
            raise PreparationRefused("the images have no place in the prompt")
        spans = _spans(places, self._counts(places, images))
        return Prepared(token_ids=token_ids, places=places, spans=spans, inputs=inputs)

    def takes_images(self) -> bool:
        """Whether the processor takes a small picture, written by the recipe."""
        try:
            self._process(self.recipe.write([b""]), [Image.new("RGB", (64, 48))], False)
        except PreparationRefused:
            return False
        return True

    def _process(
        self, text: str, images: list[Image.Image], add_special_tokens: bool
    ) -> dict[str, NDArray[Any]]:
        try:
            made = self._processor(
                text=[text],
                images=images,
                return_tensors="pt",
                add_special_tokens=add_special_tokens,
            )
        except MemoryError as error:
            raise PreparationRefused("the images need too much memory") from error
        except Exception as error:
            reason = f"the model's processor cannot use the prompt{reason_of(error)}"
            raise PreparationRefused(reason) from error
        tensors = {k: v for k, v in made.items() if isinstance(v, torch.Tensor)}
        tensors.pop("attention_mask", None)  # one prompt alone is not padded
        return {name: _array(tensor) for name, tensor in tensors.items()}

    def _counts(self, places: NDArray[np.int64], images: list[Image.Image]) -> list[int]:
        """How many placeholders each image has."""
        if len(images) == 1:
            return [len(places)]
        runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        if len(runs) == len(images):
            return [len(run) for run in runs]
        counts = [self._count_alone(image) for image in images]
        if sum(counts) != len(places):
            raise PreparationRefused("it cannot be told which placeholders belong to which image")
        return counts

    def _count_alone(self, image: Image.Image) -> int:
        token_ids = self._process(self.recipe.write([b""]), [image], False)["input_ids"]
        return int((token_ids == self.recipe.image_token_id).sum())


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """In float32 where NumPy has no such type: Llama 4's processor makes bfloat16."""
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _spans(places: NDArray[np.int64], counts: Sequence[int]) -> list[tuple[int, int]]:
    bounds = np.cumsum([0, *counts]).tolist()
    return [(int(places[a]), int(places[b - 1]) + 1) for a, b in pairwise(bounds)]


def load_preparer(folder: Path) -> Preparer | None:
    """The preparer of a model folder; None when the model takes no images."""
    transformers_logging.set_verbosity_error()
    processor = load_processor(folder)
    if processor is None or not hasattr(processor, "image_token"):
        return None
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if "mrope_section" in (getattr(text_config(config), "rope_parameters", None) or {}):
        processor.return_mm_token_type_ids = True  # positions are made from them
    recipe = _recipe(config, processor)
    if not any(recipe.wrapping):
        recipe = replace(recipe, wrapping=_demanded_wrapping(processor, recipe))
    return Preparer(processor, recipe)


def _demanded_wrapping(processor: Any, recipe: Recipe) -> tuple[str, str]:
    """Tokens without which the processor refuses an image (HunYuan-VL)."""
    before, behind = (getattr(processor, f"image_{end}_token", None) for end in ("start", "end"))
    if not isinstance(before, str) or not isinstance(behind, str):
        return "", ""
    wrapped = replace(recipe, wrapping=(before, behind))
    is_bare = Preparer(processor, recipe).takes_images()
    is_demanded = not is_bare and Preparer(processor, wrapped).takes_images()
    return wrapped.wrapping if is_demanded else ("", "")


def _recipe(config: Any, processor: Any) -> Recipe:
    """Of a model, with nothing proven yet."""
    image_token_id = getattr(config, "image_token_id", None)
    if image_token_id is None:
        image_token_id = config.image_token_index
    tokenizer = processor.tokenizer
    image_token = _placeholder(processor)
    named = [getattr(processor, f"{kind}_token", None) for kind in ("image", "video", "audio")]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return Recipe(
        image_token=image_token,
        marker_id=tokenizer.convert_tokens_to_ids(image_token),
        image_token_id=image_token_id,
        wrapping=_wrapping(config, tokenizer),
        reserved_tokens=tuple({image_token, *(t for t in named if isinstance(t, str) and t)}),
        tokenizer_json="" if backend is None else backend.to_str(),
    )


def _placeholder(processor: Any) -> str:
    """Text that stands for an image in a prompt, before the processor has seen it."""
    return str(getattr(processor, "image_placeholder_token", None) or processor.image_token)


def _wrapping(config: Any, tokenizer: Any) -> tuple[str, str]:
    """Tokens around an image that the processor leaves to the prompt (Qwen2-VL and its kin)."""
    for kind in ("vision", "image"):
        ids = [getattr(config, f"{kind}_{end}_token_id", None) for end in ("start", "end")]
        if None not in ids:
            before, behind = tokenizer.convert_ids_to_tokens(ids)
            return (before, behind) if before and behind else ("", "")
    return "", ""
