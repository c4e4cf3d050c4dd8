"""`/invocations` (SageMaker) and `/vertex` (Vertex AI): other routes in these clouds' envelopes."""

from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.responses import Response

from inlay_router.admission import ValidGenerateRequest
from inlay_router.api.asked_exclusions import with_exclusions
from inlay_router.api.body import body_of, parse
from inlay_router.api.chat import answer_chat
from inlay_router.api.completions import complete
from inlay_router.api.generate import answer_compat
from inlay_router.api.responses import json_response
from inlay_router.api.route import until_client_leaves
from inlay_router.bodies import best_first
from inlay_router.call import Call, answers_headers
from inlay_router.chat.body import ChatBody
from inlay_router.completion.body import CompletionBody
from inlay_router.errors import ValidationError
from inlay_router.schemas import GenerateBody
from inlay_router.service import Service
from inlay_router.tasks import together


class InvocationBody(Struct, frozen=True):
    """Which route a body is meant for."""

    inputs: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET


class VertexBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `/vertex`; an instance is a GenerateBody or a ChatBody."""

    instances: list[Raw]
    parameters: dict[str, Raw] | None = None
    """Vertex AI's own place for parameters; must be empty, as each instance has its own."""


class VertexAnswer(Struct, frozen=True):
    """Answer of `/vertex`: one text an instance."""

    predictions: list[str]


async def invocations(call: Call) -> Response:
    """What `/`, `/v1/chat/completions` or `/v1/completions` answers, as the body's shape says."""
    data = bytes(await body_of(call, Raw))
    shape = parse(data, InvocationBody)
    if shape.inputs is not UNSET:
        return await answer_compat(call, parse(data, GenerateBody))
    if shape.messages is not UNSET:
        return await answer_chat(call, parse(data, ChatBody))
    if shape.prompt is not UNSET:
        return await complete(call, parse(data, CompletionBody))
    raise ValidationError("the body must have `inputs`, `messages` or `prompt`")


async def vertex(call: Call) -> Response:
    """The text that answers each instance, without its prompt unless that was asked for."""
    service = call.service
    body = await body_of(call, VertexBody)
    if not body.instances:
        raise ValidationError("`instances` cannot be empty")
    if body.parameters:
        raise ValidationError("`parameters` must be empty: each of `instances` has its own")
    call.take_permits(len(body.instances))
    instances = [_instance(bytes(one)) for one in body.instances]
    for instance in instances:
        call.limit_time(instance.max_time)
    async with until_client_leaves(call):
        requests = await together(_admit(service, instance) for instance in instances)
        others = sum(len(request.generations) - 1 for request in requests)
        call.take_permits(others)
        call.admit(*requests)
        generated = await together(call.generate(one) for one in requests)
    best = [best_first(candidates)[0].finish for candidates in generated]
    call.succeed(*best)
    texts = [
        request.full_text(finish.generated_text)
        for request, finish in zip(requests, best, strict=True)
    ]
    return json_response(VertexAnswer(texts), headers=answers_headers(call, requests, best))


def _instance(data: bytes) -> GenerateBody | ChatBody:
    is_chat = parse(data, InvocationBody).messages is not UNSET
    return parse(data, ChatBody) if is_chat else parse(data, GenerateBody)


async def _admit(service: Service, instance: GenerateBody | ChatBody) -> ValidGenerateRequest:
    if isinstance(instance, ChatBody):
        chat = await service.chats.admit(instance)
        return with_exclusions(chat.request, instance, service)
    return await service.admission.admit(instance, is_streaming=False)
