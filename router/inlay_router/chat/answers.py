"""The JSON of an answer to a chat, key for key as OpenAI writes it."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from inlay_router.api.openai import UsageBody
from inlay_router.request import Token, TopToken


class CalledFunction(Struct, frozen=True):
    """What a call names, and its arguments: JSON text."""

    name: str
    arguments: str


class ToolCallBody(Struct, frozen=True):
    """One call in an answer."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(Struct, frozen=True):
    """What the assistant says; without text when it only calls."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCallBody] | UnsetType = UNSET


class TopLogprob(Struct, frozen=True):
    """A token that could have been chosen."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct, frozen=True):
    """A token that was chosen."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class Logprobs(Struct, frozen=True):
    """One entry a token."""

    content: list[TokenLogprob]


class ChatChoice(Struct, frozen=True):
    """One of `n` answers."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: str
    grammar_shortened: bool | UnsetType = UNSET
    """True when tokens were changed so that the answer is complete within its budget; not in
    OpenAI's answers, and left out otherwise."""


class ChatAnswer(Struct, frozen=True, kw_only=True):
    """Answer of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageBody
    system_fingerprint: str


class FunctionDelta(Struct, frozen=True):
    """The name comes once, the arguments piece by piece."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(Struct, frozen=True):
    """A piece of the call with this index; the first piece names it."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET


class Delta(Struct, frozen=True):
    """What an event adds to a message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """A piece of one of `n` answers."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: str | None
    grammar_shortened: bool | UnsetType = UNSET
    """As in `ChatChoice`, with the reason."""


class ChatChunk(Struct, frozen=True, kw_only=True):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageBody | None = None
    system_fingerprint: str


def token_logprob(token: Token) -> TokenLogprob:
    """A token with those that could have been chosen."""
    tops = [TopLogprob(top.text, top.logprob, _bytes(top)) for top in token.top_tokens]
    return TokenLogprob(token.text, token.logprob, _bytes(token), tops)


def _bytes(token: Token | TopToken) -> list[int] | None:
    """UTF-8 of the text; a token in the middle of a character has no text of its own."""
    return list(token.text.encode())
