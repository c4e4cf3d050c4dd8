"""From the messages of a chat to a prompt in token ids: rendered, tokenised, images in place."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from inlay_router.chat.contents import ContentRules, Conversation
from inlay_router.chat.marks import IMAGE, Marks, has_marks, split_at_images
from inlay_router.chat.templates import Style
from inlay_router.errors import TemplateError
from inlay_router.images.image_embeds import SeenPiece
from inlay_router.markdown import TextPiece
from inlay_router.prompt import PromptReader
from inlay_router.request import Prompt
from inlay_router.text.typed import WORD_JOINER

_NUM_SHORT = 4096
"""Characters of a conversation that is rendered at once; a longer one would delay streams."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedChat:
    """A conversation as the model reads it."""

    text: str
    """As people read it; an image is its mark."""
    prompt: Prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatPrompts:
    """Makes prompts of conversations."""

    prompts: PromptReader
    rules: ContentRules

    async def read(
        self,
        style: Style,
        conversation: Conversation,
        variables: Mapping[str, Any],
        *,
        continues_last: bool,
    ) -> RenderedChat:
        """Raises TemplateError, and ValidationError for images that cannot be had or used."""
        render = partial(
            style.template.render,
            conversation.messages,
            {**style.variables, **variables},
            continues_last=continues_last,
        )
        if _num_characters(conversation.messages) <= _NUM_SHORT:
            text = render()
        else:
            loop = asyncio.get_running_loop()
            text = await loop.run_in_executor(self.prompts.executor, render)
        if not text:
            raise TemplateError("it shows nothing of the messages")
        shown = style.marks.unmark(text).replace(IMAGE, style.forms.image_mark or "")
        return RenderedChat(text=shown, prompt=await self._prompt(style, conversation, text))

    async def _prompt(self, style: Style, conversation: Conversation, text: str) -> Prompt:
        if not conversation.images:
            parts = style.marks.pieces(text) if has_marks(text) else [(text, False)]
            return await self.prompts.read_parts(parts)
        texts = split_at_images(text, style.forms.image_mark or IMAGE)
        if len(texts) != len(conversation.images) + 1:
            raise TemplateError(
                f"it shows {len(texts) - 1} of the {len(conversation.images)} images"
            )
        pieces: list[TextPiece | SeenPiece] = []
        for piece, image in zip_longest(texts, conversation.images):
            if piece:
                pieces.append(TextPiece(_broken(piece, style.marks)))
            if image is not None:
                pieces.append(image)
        return await self.prompts.read_pieces(pieces, add_special_tokens=False)


def _broken(text: str, marks: Marks) -> str:
    """A text for the model's processor, in which what a user typed is no special token."""
    if not has_marks(text):
        return text
    return "".join(
        piece[:1] + WORD_JOINER + piece[1:] if is_typed else piece
        for piece, is_typed in marks.pieces(text)
    )


def _num_characters(value: Any) -> int:
    """Of all strings in JSON of any form."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(map(_num_characters, chain(value.values())))
        case list():
            return sum(map(_num_characters, value))
    return 0
