"""`/generate`, `/generate_stream`, and `/`, which is either as the body says."""

from collections.abc import AsyncGenerator

import msgspec
from starlette.responses import Response, StreamingResponse

from inlay_router.admission import ValidGenerateRequest
from inlay_router.api.body import body_of
from inlay_router.api.responses import json_response
from inlay_router.api.route import until_client_leaves
from inlay_router.bodies import answer_of, best_first
from inlay_router.call import Call, answer_headers, stream_headers
from inlay_router.errors import IncompleteGeneration
from inlay_router.request import Finish
from inlay_router.schemas import GenerateAnswer, GenerateBody, GenerateParameters
from inlay_router.sse import TokenFrames, deputy, error_frame, event_stream
from inlay_router.text.answer import Answer


async def generate(call: Call) -> Response:
    """One answer, when it is complete."""
    answer, headers = await _answer(call, await _body(call))
    return json_response(answer, headers=headers)


async def generate_stream(call: Call) -> Response:
    """One event a token, as they come."""
    return await _stream(call, await _body(call))


async def compat_generate(call: Call) -> Response:
    """A stream when `stream` is true, else an array of one answer; with the prompt by default."""
    return await answer_compat(call, await _body(call))


async def answer_compat(call: Call, body: GenerateBody) -> Response:
    """The same for a body that has been read."""
    if not call.service.limits.takes_images:
        body = _with_full_text(body)
    if body.stream:
        return await _stream(call, body)
    answer, headers = await _answer(call, body)
    return json_response([answer], headers=headers)


async def _body(call: Call) -> GenerateBody:
    return await body_of(call, GenerateBody)


def _with_full_text(body: GenerateBody) -> GenerateBody:
    """`return_full_text` is true on `/` unless the client says otherwise or the model takes images,
    which is TGI's default by pipeline tag. Absent `parameters` stay what they mean: sampling."""
    parameters = body.parameters or GenerateParameters(do_sample=True)
    if parameters.return_full_text is not None:
        return body
    parameters = msgspec.structs.replace(parameters, return_full_text=True)
    return msgspec.structs.replace(body, parameters=parameters)


async def _answer(call: Call, body: GenerateBody) -> tuple[GenerateAnswer, dict[str, str]]:
    """The answer and its headers. The client may leave at any time."""
    service = call.service
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        valid = await service.admission.admit(body, is_streaming=False)
        call.take_permits(valid.parameters.best_of - 1)
        call.admit(valid)
        generated = await call.generate(valid)
    generated = best_first(generated)
    finish = generated[0].finish
    call.succeed(finish)
    answer = answer_of(valid, generated, service.generation.tokenizer)
    return answer, answer_headers(call, valid, finish)


async def _stream(call: Call, body: GenerateBody) -> StreamingResponse:
    """Everything that can be refused is refused here, before the headers go."""
    service = call.service
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        valid = await service.admission.admit(body, is_streaming=True)
        (request,) = valid.generations
        answer = await call.stream(request)
    call.admit(valid)
    return event_stream(_frames(call, valid, answer), stream_headers(service.facts, valid))


async def _frames(
    call: Call, valid: ValidGenerateRequest, answer: Answer
) -> AsyncGenerator[bytes, None]:
    """Events for the client, all that are ready at a time; a fault is the last of them."""
    frames = TokenFrames(valid)
    try:
        while items := await answer.read():
            call.produce()
            if isinstance(items[-1], Finish):
                call.succeed(items[-1])
            yield frames.write(items)
            answer.deputy = deputy(call.request, frames.write)
        if not call.is_settled:
            raise IncompleteGeneration
    except Exception as error:
        yield error_frame(call.fail_by(error))
