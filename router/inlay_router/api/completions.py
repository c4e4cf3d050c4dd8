"""`/v1/completions`: OpenAI's completions, of one prompt or several."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import msgspec
from starlette.responses import Response

from inlay_router.admission import ValidGenerateRequest
from inlay_router.api.asked_exclusions import with_exclusions
from inlay_router.api.body import body_of
from inlay_router.api.openai import usage_of, with_choices
from inlay_router.api.responses import json_response
from inlay_router.api.route import until_client_leaves
from inlay_router.bodies import Generated
from inlay_router.call import Call, answers_headers, stream_headers
from inlay_router.completion.answers import CompletionFrames, choice_of, empty_answer
from inlay_router.completion.body import CompletionBody, CompletionChoice
from inlay_router.completion.valid import PromptSource, ValidCompletion, validate_completion
from inlay_router.errors import IncompleteGeneration
from inlay_router.interleaving import interleave
from inlay_router.request import Finish, Prompt
from inlay_router.sse import DONE, deputy, event_stream, frame, openai_error_frame
from inlay_router.tasks import together
from inlay_router.text.answer import Answer

_log = logging.getLogger(__name__)


async def completions(call: Call) -> Response:
    """One answer when it is complete, or a stream, as the body says."""
    body = await body_of(call, CompletionBody)
    return await complete(call, body)


async def complete(call: Call, body: CompletionBody) -> Response:
    """The same for a body that has been read."""
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        asked = validate_completion(body, call.service.limits)
        call.take_permits(asked.num_generations - 1)
        requests = await together(_admit(call, asked, prompt) for prompt in asked.prompts)
        if body.stream:
            answers = [
                await call.stream(one) for request in requests for one in request.generations
            ]
        else:
            call.admit(*requests)
            generated = await together(call.generate(request) for request in requests)
    if not body.stream:
        return _answer(call, asked, requests, generated)
    call.admit(*requests)
    headers = stream_headers(call.service.facts, *requests)
    return event_stream(_frames(call, asked, requests, answers), headers)


async def _admit(call: Call, asked: ValidCompletion, source: PromptSource) -> ValidGenerateRequest:
    service, parameters = call.service, asked.parameters
    if isinstance(source, str):
        prompt = await service.admission.prompts.read(source, truncate=parameters.truncate)
        text = source
    else:
        prompt = Prompt(token_ids=tuple(source[-(parameters.truncate or 0) :]))
        text = service.generation.tokenizer.decode(prompt.token_ids)
    request = await service.admission.admit_prompt(text, parameters, prompt)
    request = with_exclusions(request, asked.body, service)
    if asked.has_echo and asked.num_logprobs:
        generation = replace(request.generations[0], num_prompt_top_tokens=asked.num_logprobs)
        request = replace(request, generations=(generation,))
    return with_choices(request, asked.num_candidates)


def _answer(
    call: Call,
    asked: ValidCompletion,
    requests: Sequence[ValidGenerateRequest],
    generated: Sequence[Sequence[Generated]],
) -> Response:
    tokenizer = call.service.generation.tokenizer
    choices: list[CompletionChoice] = []
    for request, candidates in zip(requests, generated, strict=True):
        ranked = sorted(candidates, key=lambda one: -one.mean_logprob)
        best = ranked if asked.num_candidates > asked.num_choices else candidates
        for one in best[: asked.num_choices]:
            choices.append(choice_of(asked, request, one, len(choices), tokenizer))
    finishes = [one.finish for candidates in generated for one in candidates]
    call.succeed(*finishes)
    answer = msgspec.structs.replace(
        empty_answer(call.service.facts.model_id),
        choices=choices,
        usage=usage_of([request.prompt for request in requests], finishes),
    )
    return json_response(answer, headers=answers_headers(call, requests, finishes))


async def _frames(
    call: Call,
    asked: ValidCompletion,
    requests: Sequence[ValidGenerateRequest],
    answers: Sequence[Answer],
) -> AsyncGenerator[bytes, None]:
    """Events for the client; behind the answers, or a fault, the end mark."""
    empty = empty_answer(call.service.facts.model_id)
    frames = [
        CompletionFrames(empty, asked, request) for request in requests for _ in request.generations
    ]
    finishes: list[Finish] = []
    try:
        if asked.has_echo:
            yield b"".join(one.begin(index) for index, one in enumerate(frames))
        async with aclosing(interleave(answers)) as arrivals:
            async for index, items in arrivals:
                call.produce()
                finishes += [item for item in items if isinstance(item, Finish)]
                yield frames[index].write(index, items)
                write = partial(frames[index].write, index)
                answers[index].deputy = deputy(call.request, write)
        if len(finishes) < len(answers):
            raise IncompleteGeneration
        call.succeed(*finishes)
        if asked.has_usage:
            usage = usage_of([request.prompt for request in requests], finishes)
            yield frame(msgspec.structs.replace(empty, usage=usage))
    except Exception as error:
        yield openai_error_frame(call.fail_by(error))
    yield DONE
