"""The messages that `LLM.chat` takes, as a request: OpenAI's, with pictures as objects too."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from inlay.llm.prompts import seen_pieces
from inlay.offline.requests import ChatRequest, Controls
from inlay_router.admission import ValidGenerateRequest
from inlay_router.chat.body import ChatBody
from inlay_router.errors import ValidationError
from inlay_router.images.image_embeds import EmbedsPiece, SeenPiece
from inlay_router.service import Service

MessageType: TypeAlias = Mapping[str, Any]
"""`{"role": …, "content": …}`."""

_OBJECTS = ("image_pil", "image", "image_embeds")
"""Types of parts whose picture or tensor is an object of this program."""


@dataclass(frozen=True, kw_only=True)
class MessagesRequest:
    """A conversation."""

    messages: Sequence[MessageType]
    options: Mapping[str, Any]
    """Further keys of the body of `/v1/chat/completions`."""
    chat_template: str | None
    controls: Controls

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request. Pictures are encoded here, a few at a time, and not all beforehand."""
        messages = [await _message(message, service) for message in self.messages]
        try:
            body = msgspec.convert({**self.options, "messages": messages}, ChatBody)
        except msgspec.ValidationError as error:
            raise ValidationError(str(error)) from None
        request = ChatRequest(body=body, controls=self.controls, chat_template=self.chat_template)
        return await request.admit(service)


async def _message(message: MessageType, service: Service) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return dict(message)
    return {**message, "content": [await _part(part, service) for part in content]}


async def _part(part: Any, service: Service) -> Any:
    """OpenAI's own parts as they are; a picture becomes a data URI."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping) or part.get("type") not in _OBJECTS:
        return part
    kind = part["type"]
    if isinstance(part.get(kind), (str, Mapping)) and kind == "image_embeds":
        return part
    (piece,) = await seen_pieces([part.get(kind)], service)
    return _as_openai(piece)


def _as_openai(piece: SeenPiece) -> dict[str, Any]:
    if isinstance(piece, EmbedsPiece):
        data = piece.data if isinstance(piece.data, str) else base64.b64encode(piece.data).decode()
        return {"type": "image_embeds", "image_embeds": data}
    return {"type": "image_url", "image_url": {"url": piece.url}}
