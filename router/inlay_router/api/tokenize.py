"""`/tokenize`: the tokens of a prompt and where they stand in it."""

import asyncio
from collections.abc import Iterable

from msgspec import Struct
from starlette.responses import Response

from inlay_router.api.body import body_of
from inlay_router.api.responses import json_response
from inlay_router.api.route import until_client_leaves
from inlay_router.call import Call
from inlay_router.schemas import GenerateBody
from inlay_router.service import Service
from inlay_router.text.tokenizer import Tokenizer
from inlay_router.validation import validate


class TokenSpanBody(Struct, frozen=True):
    """One token; [start, stop) counts characters."""

    id: int
    text: str
    start: int
    stop: int


async def tokenize(call: Call) -> Response:
    """The tokens of `inputs` as the model gets them."""
    service = call.service
    body = await body_of(call, GenerateBody)
    call.take_permits()
    call.limit_time(body.max_time)
    async with until_client_leaves(call):
        validate(body, service.limits, is_streaming=False)
        spans = await prompt_spans(service, body.inputs)
    call.succeed()
    return json_response(spans)


async def prompt_spans(service: Service, inputs: str) -> list[TokenSpanBody]:
    """Every token of `inputs`, those that the tokenizer adds included.

    They stand in `inputs`; with images, in the text that the placeholders of images make longer.
    Raises ValidationError for a prompt that cannot be read.
    """
    prompts = service.admission.prompts
    prompt = await prompts.read(inputs)
    if prompt.places:
        return laid_out(service.generation.tokenizer, prompt.token_ids)
    loop = asyncio.get_running_loop()
    spans = await loop.run_in_executor(prompts.executor, prompts.spans, inputs)
    return [TokenSpanBody(id_, inputs[start:stop], start, stop) for id_, start, stop in spans]


def laid_out(tokenizer: Tokenizer, token_ids: Iterable[int]) -> list[TokenSpanBody]:
    """Tokens one behind the other."""
    spans: list[TokenSpanBody] = []
    start = 0
    for token_id in token_ids:
        text = tokenizer.text(token_id)
        spans.append(TokenSpanBody(token_id, text, start, start + len(text)))
        start += len(text)
    return spans
