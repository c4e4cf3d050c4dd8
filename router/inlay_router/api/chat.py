"""`/v1/chat/completions` and `/chat_tokenize`."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import msgspec
from msgspec import Struct
from starlette.responses import Response

from inlay_router.api.asked_exclusions import with_exclusions
from inlay_router.api.body import body_of
from inlay_router.api.openai import SYSTEM_FINGERPRINT, new_id, usage_of
from inlay_router.api.responses import json_response
from inlay_router.api.route import until_client_leaves
from inlay_router.api.tokenize import TokenSpanBody, laid_out
from inlay_router.bodies import Generated
from inlay_router.call import Call, answer_headers, stream_headers
from inlay_router.chat.admission import ValidChat
from inlay_router.chat.answers import ChatAnswer, ChatChunk
from inlay_router.chat.body import ChatBody
from inlay_router.chat.choice import ChoiceWriter, choice_of
from inlay_router.errors import IncompleteGeneration
from inlay_router.interleaving import interleave
from inlay_router.request import Finish
from inlay_router.sse import DONE, deputy, event_stream, frame, openai_error_frame
from inlay_router.text.answer import Answer, Items


class ChatTokens(Struct, frozen=True):
    """Answer of `/chat_tokenize`."""

    tokenize_response: list[TokenSpanBody]
    templated_text: str


async def chat_completions(call: Call) -> Response:
    """One answer when it is complete, or a stream, as the body says."""
    body = await body_of(call, ChatBody)
    return await answer_chat(call, body)


async def chat_tokenize(call: Call) -> Response:
    """The prompt that a chat becomes, and its tokens one behind the other."""
    service = call.service
    body = await body_of(call, ChatBody)
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        chat = await service.chats.read(body)
    call.succeed()
    spans = laid_out(service.generation.tokenizer, chat.prompt.token_ids)
    return json_response(ChatTokens(spans, chat.text))


async def answer_chat(call: Call, body: ChatBody) -> Response:
    """What `/v1/chat/completions` answers to a body that has been read."""
    service = call.service
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        chat = await service.chats.admit(body)
        chat = replace(chat, request=with_exclusions(chat.request, body, service))
        generations = chat.request.generations
        call.take_permits(len(generations) - 1)
        if body.stream:
            answers = [await call.stream(one) for one in generations]
        else:
            call.admit(chat.request)
            generated = await call.generate(chat.request)
    if not body.stream:
        return _answer(call, chat, generated)
    call.admit(chat.request)
    headers = stream_headers(service.facts, chat.request)
    return event_stream(_frames(call, chat, answers), headers)


def _answer(call: Call, chat: ValidChat, generated: Sequence[Generated]) -> Response:
    finishes = [one.finish for one in generated]
    call.succeed(*finishes)
    answer = ChatAnswer(
        id=new_id("chatcmpl-"),
        created=int(time.time()),
        model=call.service.facts.model_id,
        choices=[
            choice_of(chat, index, one.tokens, one.finish) for index, one in enumerate(generated)
        ],
        usage=usage_of([chat.request.prompt], finishes),
        system_fingerprint=SYSTEM_FINGERPRINT,
    )
    return json_response(answer, headers=answer_headers(call, chat.request, *finishes))


def _empty_chunk(model_id: str) -> ChatChunk:
    """What all events of one stream have."""
    return ChatChunk(
        id=new_id("chatcmpl-"),
        created=int(time.time()),
        model=model_id,
        choices=[],
        system_fingerprint=SYSTEM_FINGERPRINT,
    )


async def _frames(
    call: Call, chat: ValidChat, answers: Sequence[Answer]
) -> AsyncGenerator[bytes, None]:
    """Events for the client; behind the answers, or a fault, the end mark."""
    empty = _empty_chunk(call.service.facts.model_id)
    writers = [ChoiceWriter(chat, index) for index in range(len(answers))]
    finishes: list[Finish] = []

    def write(index: int, items: Items) -> bytes:
        pieces = writers[index].write(items)
        return b"".join(frame(msgspec.structs.replace(empty, choices=[piece])) for piece in pieces)

    try:
        async with aclosing(interleave(answers)) as arrivals:
            async for index, items in arrivals:
                call.produce()
                finishes += [item for item in items if isinstance(item, Finish)]
                yield write(index, items)
                answers[index].deputy = deputy(call.request, partial(write, index))
        if len(finishes) < len(answers):
            raise IncompleteGeneration
        call.succeed(*finishes)
        options = chat.body.stream_options
        if options is not None and options.include_usage:
            usage = usage_of([chat.request.prompt], finishes)
            yield frame(msgspec.structs.replace(empty, usage=usage))
    except Exception as error:
        yield openai_error_frame(call.fail_by(error))
    yield DONE
