"""Every route as the OpenAPI document describes it: what it takes and what it answers."""

from dataclasses import dataclass
from typing import Any

from inlay_router.api.chat import ChatTokens
from inlay_router.api.platforms import VertexAnswer, VertexBody
from inlay_router.api.tokenize import TokenSpanBody
from inlay_router.chat.answers import ChatAnswer, ChatChunk
from inlay_router.chat.body import ChatBody
from inlay_router.completion.body import CompletionAnswer, CompletionBody
from inlay_router.schemas import (
    ErrorBody,
    GenerateAnswer,
    GenerateBody,
    InfoAnswer,
    ModelBody,
    ModelsAnswer,
    OpenAIErrorEvent,
    StreamEvent,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One method on one path."""

    path: str
    """With names of path parameters in braces."""
    summary: str
    method: str = "post"
    bodies: tuple[Any, ...] = ()
    """Types that the body may have; none for a route without a body."""
    answers: tuple[Any, ...] = ()
    """Types of a JSON answer; none for an empty one."""
    events: tuple[Any, ...] = ()
    """Types that an event may have, where an answer may be a stream."""
    has_end_mark: bool = False
    """Whether `[DONE]` ends a stream."""
    media_type: str = "application/json"
    refusals: tuple[int, ...] = ()
    """Statuses beside 200, beyond those of every route of its method."""


_TGI_EVENTS = (StreamEvent, ErrorBody)
_OPENAI_EVENTS = (CompletionAnswer, OpenAIErrorEvent)

OPERATIONS = (
    Operation(
        path="/",
        summary="Generate; a stream when `stream` is true",
        bodies=(GenerateBody,),
        answers=(list[GenerateAnswer],),
        events=_TGI_EVENTS,
    ),
    Operation(
        path="/generate",
        summary="Generate, and answer when all is there",
        bodies=(GenerateBody,),
        answers=(GenerateAnswer,),
    ),
    Operation(
        path="/generate_stream",
        summary="Generate, one event a token",
        bodies=(GenerateBody,),
        events=_TGI_EVENTS,
    ),
    Operation(
        path="/v1/chat/completions",
        summary="OpenAI's chat; events when `stream` is true, ended by `[DONE]`",
        bodies=(ChatBody,),
        answers=(ChatAnswer,),
        events=(ChatChunk, OpenAIErrorEvent),
        has_end_mark=True,
    ),
    Operation(
        path="/chat_tokenize",
        summary="The prompt that a chat becomes, and its tokens",
        bodies=(ChatBody,),
        answers=(ChatTokens,),
    ),
    Operation(
        path="/v1/completions",
        summary="OpenAI's completions; events when `stream` is true, ended by `[DONE]`",
        bodies=(CompletionBody,),
        answers=(CompletionAnswer,),
        events=_OPENAI_EVENTS,
        has_end_mark=True,
    ),
    Operation(
        path="/invocations",
        summary="SageMaker: the route that the shape of the body is meant for",
        bodies=(GenerateBody, ChatBody, CompletionBody),
        answers=(list[GenerateAnswer], ChatAnswer, CompletionAnswer),
        events=(*_TGI_EVENTS, *_OPENAI_EVENTS, ChatChunk),
        has_end_mark=True,
    ),
    Operation(
        path="/vertex",
        summary="Vertex AI: one text an instance",
        bodies=(VertexBody,),
        answers=(VertexAnswer,),
    ),
    Operation(
        path="/tokenize",
        summary="The tokens of a prompt",
        bodies=(GenerateBody,),
        answers=(list[TokenSpanBody],),
    ),
    Operation(path="/", method="get", summary="Health", refusals=(503,)),
    Operation(path="/health", method="get", summary="Health", refusals=(503,)),
    Operation(path="/ping", method="get", summary="Health, for SageMaker", refusals=(503,)),
    Operation(
        path="/info", method="get", summary="The model and the limits", answers=(InfoAnswer,)
    ),
    Operation(path="/v1/models", method="get", summary="The model", answers=(ModelsAnswer,)),
    Operation(
        path="/v1/models/{model_id}",
        method="get",
        summary="The model by its name",
        answers=(ModelBody,),
        refusals=(404,),
    ),
    Operation(
        path="/metrics",
        method="get",
        summary="Counters in Prometheus' text format",
        answers=(str,),
        media_type="text/plain",
    ),
)
