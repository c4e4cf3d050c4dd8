"""Requests of a pipeline to the engine: many at a time, and with logits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from inlay.offline.requests import ChatRequest, Controls, PromptRequest, Request
from inlay.pipelines.configs import GenerationConfig
from inlay.pipelines.prompts import Conversation
from inlay_router.admission import ValidGenerateRequest
from inlay_router.chat.body import ChatBody
from inlay_router.markdown import ImagePiece, TextPiece
from inlay_router.service import Service
from inlay_router.tasks import together


@dataclass(frozen=True)
class Asked:
    """A prompt as the engine takes it, and how its answer is to be read."""

    request: Request
    config: GenerationConfig


@dataclass(frozen=True)
class WithLogits:
    """A request whose tokens carry the model's logits."""

    asked: Request

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        valid = await self.asked.admit(service)
        generations = (replace(one, wants_logits=True) for one in valid.generations)
        return replace(valid, generations=tuple(generations))


@dataclass(frozen=True)
class SideBySide:
    """Several requests as one, whose answers have the places of the requests."""

    asked: Sequence[Request]
    """Each for one answer; at least one."""

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        valid = await together(one.admit(service) for one in self.asked)
        generations = tuple(generation for one in valid for generation in one.generations)
        return replace(valid[0], generations=generations)


def templated(
    conversation: Conversation, controls: Controls, chat_template: str | None
) -> ChatRequest:
    """A conversation through the model's chat template, or another. Raises ValueError."""
    try:
        body = msgspec.convert({"messages": conversation}, ChatBody)
    except msgspec.ValidationError as error:
        raise ValueError(f"messages are not as OpenAI writes them: {error}") from None
    return ChatRequest(body=body, controls=controls, chat_template=chat_template)


def untemplated(conversation: Conversation, controls: Controls) -> PromptRequest:
    """One message as it is, without a chat template. Raises ValueError for several."""
    if len(conversation) != 1:
        raise ValueError("without a chat template a prompt is a text, or a text with images")
    content = conversation[0]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return PromptRequest(pieces=[_piece(part) for part in parts], controls=controls)


def _piece(part: dict[str, Any]) -> TextPiece | ImagePiece:
    if part["type"] == "text":
        return TextPiece(part["text"])
    return ImagePiece(part["image_url"]["url"])
