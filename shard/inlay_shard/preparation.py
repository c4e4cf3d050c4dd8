"""Prompts with images through the model's own processor."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from inlay_shard.pictures import read_picture
from inlay_shard.processor import load_processor

Piece = str | bytes
"""Text, or an encoded image."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prompt with images, as the model takes it."""

    token_ids: NDArray[np.int64]
    """(tokens,), placeholders included."""
    places: NDArray[np.int64]
    """Positions of the placeholders, ascending: (n,)."""
    spans: list[tuple[int, int]]
    """Half-open interval of each image, from its first placeholder to behind its last."""
    inputs: dict[str, NDArray[Any]]
    """Everything else that the processor made, by argument name of the model."""


class Preparer:
    """Joins text and images and hands them to the processor."""

    def __init__(self, processor: Any, image_token_id: int, wrapping: tuple[str, str]) -> None:
        """wrapping: what stands around the placeholder of an image in a prompt."""
        self._processor = processor
        self._image_token: str = processor.image_token
        self._image_token_id = image_token_id
        self._wrapping = wrapping

    def prepare(self, pieces: Sequence[Piece], add_special_tokens: bool) -> Prepared:
        """Token ids and inputs of a prompt. Raises PreparationRefused."""
        images = [read_picture(piece) for piece in pieces if isinstance(piece, bytes)]
        inputs = self._process(self._text(pieces), images, add_special_tokens)
        token_ids = inputs.pop("input_ids")[0].astype(np.int64)
        places = np.flatnonzero(token_ids == self._image_token_id)
        if not len(places):
            raise PreparationRefused("the images have no place in the prompt")
        spans = _spans(places, self._counts(places, images))
        return Prepared(token_ids=token_ids, places=places, spans=spans, inputs=inputs)

    def _text(self, pieces: Sequence[Piece]) -> str:
        text = ""
        before, behind = self._wrapping
        for piece in pieces:
            if isinstance(piece, str):
                self._check_text(piece)
                text += piece.removeprefix(behind) if text.endswith(behind) and behind else piece
            else:
                text += "" if before and text.endswith(before) else before
                text += self._image_token + behind
        return text

    def _check_text(self, text: str) -> None:
        for name in ("image_token", "video_token", "audio_token"):
            token = getattr(self._processor, name, None)
            if isinstance(token, str) and token and token in text:
                raise PreparationRefused(
                    f"the text contains {token!r}, which this model keeps for what is not text"
                )

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
        except Exception as error:
            reason = f"the model's processor cannot use the prompt: {error}"
            raise PreparationRefused(reason) from error
        return {k: v.numpy() for k, v in made.items() if isinstance(v, torch.Tensor)}

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
        token_ids = self._process(self._text([b""]), [image], False)["input_ids"]
        return int((token_ids == self._image_token_id).sum())


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
    image_token_id = getattr(config, "image_token_id", None)
    if image_token_id is None:
        image_token_id = config.image_token_index
    return Preparer(processor, image_token_id, _wrapping(config, processor.tokenizer))


def _wrapping(config: Any, tokenizer: Any) -> tuple[str, str]:
    """Tokens around an image that the processor leaves to the prompt (Qwen2-VL and its kin)."""
    ids = [getattr(config, f"vision_{end}_token_id", None) for end in ("start", "end")]
    if None in ids:
        return "", ""
    before, behind = tokenizer.convert_ids_to_tokens(ids)
    return (before, behind) if before and behind else ("", "")
