"""The prompts that `LLM.generate` takes, as requests: texts, token ids, images at their marks."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

from inlay.offline.pictures import data_uri, embeds_pieces, is_picture, is_tensor
from inlay.offline.placeholders import split_at_marks
from inlay.offline.requests import Controls, PromptRequest, Request, TokensRequest
from inlay_router.admission import ValidGenerateRequest
from inlay_router.errors import ValidationError
from inlay_router.images.image_embeds import SeenPiece
from inlay_router.markdown import ImagePiece, TextPiece
from inlay_router.service import Service

PromptType: TypeAlias = str | Mapping[str, Any]
"""A text, or `{"prompt": …, "multi_modal_data": {"image": …}}`, or `{"prompt_token_ids": …}`."""

_KEYS = frozenset({"prompt", "prompt_token_ids", "multi_modal_data"})


@dataclass(frozen=True, kw_only=True)
class PicturesRequest:
    """A text with images at its marks, or in front where it has none."""

    text: str
    images: Sequence[Any]
    """Pictures of PIL, arrays (height, width, 3) of 8-bit numbers, URLs, or tensors of embeddings,
    (image_feature_size, hidden_size)."""
    marks: Sequence[str]
    controls: Controls

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request. Pictures are encoded here, a few at a time, and not all beforehand."""
        texts = split_at_marks(self.text, self.marks)
        num_marks = len(texts) - 1
        if num_marks == 0:
            texts = [""] * len(self.images) + [self.text]
        elif num_marks != len(self.images):
            raise ValidationError(
                f"the prompt marks {num_marks} images by {' or '.join(self.marks)}. "
                f"Given: {len(self.images)} in `multi_modal_data`"
            )
        _check_count(len(self.images), service)
        seen = await seen_pieces(self.images, service)
        pieces: list[TextPiece | SeenPiece] = []
        for text, image in zip_longest(texts, seen):
            pieces += [TextPiece(text)] if text else []
            pieces += [image] if image is not None else []
        return await PromptRequest(pieces=pieces, controls=self.controls).admit(service)


async def seen_pieces(images: Sequence[Any], service: Service) -> list[SeenPiece]:
    """One for each image. Raises ValidationError for what is none."""
    loop, executor = asyncio.get_running_loop(), service.admission.prompts.executor
    return [await loop.run_in_executor(executor, _seen_piece, image) for image in images]


def _seen_piece(image: Any) -> SeenPiece:
    if isinstance(image, str):
        return ImagePiece(image)
    if is_picture(image):
        return ImagePiece(data_uri(image))
    if is_tensor(image):
        (piece,) = embeds_pieces(image)
        return piece
    if hasattr(image, "__array_interface__"):
        from PIL import Image

        return ImagePiece(data_uri(Image.fromarray(image)))
    raise ValidationError(
        "an image must be a picture of PIL, an array, a URL or a tensor of embeddings. "
        f"Given: {type(image).__name__}"
    )


def prompt_request(prompt: PromptType, controls: Controls, marks: Sequence[str]) -> Request:
    """What the engine takes. Raises ValueError for another form."""
    if isinstance(prompt, str):
        return PromptRequest(pieces=[TextPiece(prompt)], controls=controls)
    _check_keys(prompt)
    images = image_list(prompt.get("multi_modal_data"))
    token_ids = prompt.get("prompt_token_ids")
    if token_ids is not None:
        if images:
            raise ValueError("`multi_modal_data` needs a `prompt`: token ids have no place for it")
        return TokensRequest(token_ids=list(token_ids), controls=controls)
    text = prompt.get("prompt")
    if not isinstance(text, str):
        raise ValueError("a prompt needs `prompt`, a text, or `prompt_token_ids`")
    if not images:
        return PromptRequest(pieces=[TextPiece(text)], controls=controls)
    return PicturesRequest(text=text, images=images, marks=marks, controls=controls)


def image_list(data: Mapping[str, Any] | None) -> list[Any]:
    """The images of `multi_modal_data`: one, a list of them, or a tensor of embeddings."""
    if not data:
        return []
    if others := sorted(set(data) - {"image"}):
        raise ValueError(f"`multi_modal_data` holds images alone. Given: `{'`, `'.join(others)}`")
    images = data["image"]
    if is_tensor(images):
        return list(images) if images.ndim == 3 else [images]
    return list(images) if isinstance(images, (list, tuple)) else [images]


def _check_keys(prompt: Mapping[str, Any]) -> None:
    if not isinstance(prompt, Mapping):
        raise ValueError(f"a prompt must be a text or a dict. Given: {type(prompt).__name__}")
    if others := sorted(set(prompt) - _KEYS):
        raise ValueError(
            f"a prompt may hold `{'`, `'.join(sorted(_KEYS))}`. Given: `{'`, `'.join(others)}`"
        )


def _check_count(num_images: int, service: Service) -> None:
    if num_images > service.limits.max_images:
        raise ValidationError(
            f"a prompt may hold up to {service.limits.max_images} images "
            f"(`limit_mm_per_prompt`). Given: {num_images}"
        )
