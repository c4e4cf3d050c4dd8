"""From the forms of a prompt to conversations, each a list of messages as OpenAI writes them."""

import base64
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from PIL.Image import Image

from inlay.offline.pictures import data_uri
from inlay.pipelines.load_image import read_local

IMAGE_TOKEN = "<IMAGE_TOKEN>"
"""Stands in a text where an image is to stand."""

Message: TypeAlias = dict[str, Any]
Conversation: TypeAlias = list[Message]

FORMS = (
    "a prompt is a text, (text, image), (text, [images]), or a list of messages with `role` and"
    " `content`; a batch is a list of prompts"
)


def is_batch(prompts: object) -> bool:
    """Whether this is a list of prompts rather than one."""
    return isinstance(prompts, list) and not (prompts and isinstance(prompts[0], dict))


def read_prompts(prompts: object) -> list[Conversation]:
    """One conversation a prompt. Raises ValueError as `read_prompt` does, naming the place."""
    if not is_batch(prompts):
        return [read_prompt(prompts)]
    assert isinstance(prompts, list)
    conversations = []
    for place, prompt in enumerate(prompts):
        try:
            conversations.append(read_prompt(prompt))
        except ValueError as error:
            raise ValueError(f"prompt {place}: {error}") from None
    return conversations


def read_prompt(prompt: object) -> Conversation:
    """Raises ValueError for what is no prompt, and for a wrong number of IMAGE_TOKENs."""
    match prompt:
        case str():
            return [_user(prompt, [])]
        case tuple((first, second)):
            return [_user(*_text_and_images(first, second))]
        case [dict(), *_]:
            return [_message(message) for message in prompt]
    raise ValueError(f"{FORMS}. Given: {_kind(prompt)}")


def _text_and_images(first: object, second: object) -> tuple[str, list[object]]:
    """Either may come first, as long as it is clear which is which."""
    if not isinstance(first, str) and isinstance(second, str):
        first, second = second, first
    if not isinstance(first, str):
        raise ValueError(f"{FORMS}. Given: ({_kind(first)}, {_kind(second)})")
    return first, list(second) if isinstance(second, (list, tuple)) else [second]


def _user(text: str, images: Sequence[object]) -> Message:
    if not images and IMAGE_TOKEN not in text:
        return {"role": "user", "content": text}
    return {"role": "user", "content": _placed(text, [_image_part(image) for image in images])}


def _placed(text: str, images: list[Message]) -> list[Message]:
    """Images where their tokens stand; in front of the text if it holds none."""
    if IMAGE_TOKEN not in text:
        return [*images, {"type": "text", "text": text}]
    texts = text.split(IMAGE_TOKEN)
    if len(texts) != len(images) + 1:
        raise ValueError(
            f"a prompt with images holds one IMAGE_TOKEN for each of them, or none. "
            f"Given: {len(texts) - 1} for {len(images)} images"
        )
    parts: list[Message] = []
    for piece, image in zip_longest(texts, images):
        if piece:
            parts.append({"type": "text", "text": piece})
        if image is not None:
            parts.append(image)
    return parts


def _message(message: object) -> Message:
    """With PIL images as URLs, and IMAGE_TOKENs in its texts resolved."""
    if not isinstance(message, dict):
        raise ValueError(f"{FORMS}. Given: {_kind(message)} among messages")
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [_part(part) for part in content]
    texts = [part["text"] for part in parts if part.get("type") == "text"]
    if not any(IMAGE_TOKEN in text for text in texts):
        return {**message, "content": parts}
    images = [part for part in parts if part.get("type") != "text"]
    return {**message, "content": _placed("\n".join(texts), images)}


def _part(part: Any) -> Message:
    """LMDeploy's `image_data`, and `image_url` with an image or a path, become URLs."""
    match part:
        case {"type": "image_data", "image_data": {"data": image}}:
            return _image_part(image)
        case {"type": "image_url", "image_url": {"url": image}} | {
            "type": "image_url",
            "image_url": image,
        }:
            return _image_part(image)
        case dict():
            return part
    raise ValueError(f"a part of a message is an object with a `type`. Given: {_kind(part)}")


def _image_part(image: object) -> Message:
    return {"type": "image_url", "image_url": {"url": _url(image)}}


def _url(image: object) -> str:
    """Addresses stay, for the engine to fetch; anything else is read here."""
    if isinstance(image, Image):
        return data_uri(image)
    if isinstance(image, str) and image[:8].lower().startswith(("http://", "https://", "data:")):
        return image
    if isinstance(image, (str, Path)):
        return f"data:;base64,{base64.b64encode(read_local(image)).decode()}"
    raise ValueError(
        f"an image is a PIL image, a path, an http(s) address or a data URI. Given: {_kind(image)}"
    )


def _kind(value: object) -> str:
    return f"`{value!r:.60}`" if isinstance(value, (str, int)) else type(value).__name__
