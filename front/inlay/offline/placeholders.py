"""The texts that mark an image's place in a prompt: one for all models, and a model's own."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from inlay_router.errors import TemplateError
from inlay_router.service import Service

IMAGE_MARK = "<image>"
"""Marks an image whatever the model."""
_NAMES = ("image_token", "boi_token")
"""Special tokens that models' users write for an image."""
_IDS = ("image_token_id", "image_token_index")
"""What configurations call the placeholder."""


def image_marks(service: Service, folder: Path) -> tuple[str, ...]:
    """All that mark an image in prompts for this model, the longest first."""
    tokens = dict(service.facts.special_tokens)
    marks = {IMAGE_MARK, *(tokens[name] for name in _NAMES if name in tokens)}
    token_id = _image_token_id(folder)
    if token_id is not None:
        marks.add(service.generation.tokenizer.text(token_id))
    try:
        mark = service.chats.templates.style(has_tools=False).forms.image_mark
    except TemplateError:
        mark = None
    marks |= {mark} if mark else set()
    return tuple(sorted(filter(None, marks), key=len, reverse=True))


def split_at_marks(text: str, marks: Sequence[str]) -> list[str]:
    """The texts around and between the marks: one more than there are marks."""
    return _pattern(tuple(marks)).split(text)


@lru_cache(maxsize=64)
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, marks)))


def _image_token_id(folder: Path) -> int | None:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ids = (config.get(name) for name in _IDS)
    return next((token_id for token_id in ids if isinstance(token_id, int)), None)
