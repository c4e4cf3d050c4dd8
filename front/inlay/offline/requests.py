"""What an engine can be asked: a prompt of texts and images, token ids, a chat, TGI's own body."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from inlay_proto import generate_pb2 as pb
from inlay_router.admission import ValidGenerateRequest
from inlay_router.api.asked_exclusions import with_exclusions
from inlay_router.api.openai import with_choices
from inlay_router.chat.admission import ChatAdmission
from inlay_router.chat.body import ChatBody
from inlay_router.chat.templates import ChatTemplates
from inlay_router.errors import ValidationError
from inlay_router.exclusions import Exclusions
from inlay_router.images.image_embeds import SeenPiece
from inlay_router.markdown import TextPiece
from inlay_router.request import Prompt
from inlay_router.schemas import GenerateBody, GenerateParameters
from inlay_router.service import Service
from inlay_router.validation import ValidParameters, validate_parameters


class Request(Protocol):
    """Something that an engine can answer."""

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """Check it, fetch and prepare its images. Raises RouterErrors."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How answers are to be made."""

    parameters: GenerateParameters
    """In TGI's words; `seed` may be set whatever the number of answers."""
    num_answers: int = 1
    """The seeds of several follow one another."""
    is_greedy: bool = False
    """Whether the likeliest token is taken, whatever the parameters would do."""
    stop_token_ids: frozenset[int] = frozenset()
    """Tokens that end an answer, beside the model's own."""
    exclusions: Exclusions = Exclusions()
    """What an answer may not hold."""
    num_prompt_top_tokens: int = 0
    """With `decoder_input_details`: likeliest tokens to report at each place of the prompt."""
    truncate: int | None = None
    """Keep this many tokens at the end of a prompt without images; None for all."""
    shortens: bool = True
    """Whether an answer that could grow out of the model's positions, or of the KV pool, ends
    there, instead of being refused."""

    def valid(self, service: Service) -> ValidParameters:
        """In range. Raises ValidationError."""
        valid = validate_parameters(self.parameters, service.limits)
        if self.is_greedy:
            valid.sampling.do_sample = False
        self.exclusions.put_into(valid.sampling, service, self.stop_token_ids)
        return valid

    async def admit(self, service: Service, text: str, prompt: Prompt) -> ValidGenerateRequest:
        """For a prompt that has been read. Raises ValidationError."""
        valid = self.valid(service)
        prompt = self._truncated(prompt)
        if self.shortens and valid.max_new_tokens is not None:
            num_left = service.limits.max_total_tokens - len(prompt.token_ids)
            valid = replace(valid, max_new_tokens=max(1, min(valid.max_new_tokens, num_left)))
        request = await service.admission.admit_prompt(text, valid, prompt)
        generations = (
            replace(
                one,
                stop_token_ids=self.stop_token_ids,
                num_prompt_top_tokens=self.num_prompt_top_tokens,
            )
            for one in request.generations
        )
        request = replace(request, generations=tuple(generations))
        return with_choices(request, self.num_answers)

    def _truncated(self, prompt: Prompt) -> Prompt:
        if self.truncate is None or len(prompt.token_ids) <= self.truncate:
            return prompt
        if prompt.places:
            raise ValidationError(
                f"a prompt with images cannot be truncated to {self.truncate} tokens. "
                f"Given: {len(prompt.token_ids)}"
            )
        return replace(prompt, token_ids=prompt.token_ids[-self.truncate :])


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """A prompt of texts, with images where they stand."""

    pieces: Sequence[TextPiece | SeenPiece]
    controls: Controls
    adds_special_tokens: bool = True
    """Whether the tokenizer adds its beginning-of-sequence token."""

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        self.controls.valid(service)  # before images are fetched
        prompts = service.admission.prompts
        text = "".join(piece.text for piece in self.pieces if isinstance(piece, TextPiece))
        if any(not isinstance(piece, TextPiece) for piece in self.pieces):
            _check_sight(service)
            prompt = await prompts.read_pieces(
                self.pieces, add_special_tokens=self.adds_special_tokens
            )
        elif self.adds_special_tokens:
            prompt = await prompts.read_text(text)
        else:
            prompt = await prompts.read_parts([(text, False)])
        return await self.controls.admit(service, text, prompt)


@dataclass(frozen=True, kw_only=True)
class TokensRequest:
    """A prompt as token ids."""

    token_ids: Sequence[int]
    controls: Controls

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        for token_id in self.token_ids:
            if not 0 <= token_id < service.limits.vocab_size:
                raise ValidationError(
                    f"`prompt_token_ids` must be >= 0 and < {service.limits.vocab_size}. "
                    f"Given: {token_id}"
                )
        prompt = Prompt(token_ids=tuple(self.token_ids))
        return await self.controls.admit(service, "", prompt)


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """Messages, through the model's template or another."""

    body: ChatBody
    """Without `controls` its own controls count, as on `/v1/chat/completions`."""
    controls: Controls | None = None
    chat_template: str | None = None
    """Jinja source to use instead of the model's own."""

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        chats = service.chats
        if self.chat_template is not None:
            chats = _with_template(service, self.chat_template)
        if self.controls is None:
            chat = await chats.admit(self.body)
            return with_exclusions(chat.request, self.body, service)
        self.controls.valid(service)
        rendered = await chats.read(self.body)
        return await self.controls.admit(service, rendered.text, rendered.prompt)


@dataclass(frozen=True)
class GenerateRequest:
    """The body of `/generate`, markdown images and all."""

    body: GenerateBody

    async def admit(self, service: Service) -> ValidGenerateRequest:
        """See Request."""
        return await service.admission.admit(self.body, is_streaming=False)


def _check_sight(service: Service) -> None:
    if not service.limits.takes_images:
        raise ValidationError("this model takes no images")


def _with_template(service: Service, source: str) -> ChatAdmission:
    facts = pb.ModelFacts()
    facts.CopyFrom(service.facts)
    facts.chat_template = source
    facts.named_chat_templates.clear()
    return replace(service.chats, templates=ChatTemplates(facts, service.generation.tokenizer))
