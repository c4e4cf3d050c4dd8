"""A scripted replica that a test lets die, and streams whose every token depends on all before."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.errors import RouterError
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import Choose, ScriptedShard
from inlay_router.request import Finish, GenerationRequest, ImagePlace, Prompt, Token


def model(token_ids: list[int], num_prompt_tokens: int) -> int:
    """A letter that depends on the whole context."""
    return 32 + hashlib.sha256(bytes(token_ids)).digest()[0] % 60


def undisturbed(request: GenerationRequest) -> list[int]:
    """The answer of `model` where nothing dies."""
    token_ids = list(request.prompt.token_ids)
    for _ in range(request.max_new_tokens):
        token_ids.append(model(token_ids, 0))
    return token_ids[len(request.prompt.token_ids) :]


def a_request(*token_ids: int, max_new_tokens: int = 12) -> GenerationRequest:
    """A request with this prompt."""
    return GenerationRequest(prompt=Prompt(token_ids=token_ids), max_new_tokens=max_new_tokens)


def images(data: bytes) -> pb.PrepareRequest:
    """What asks for an image to be prepared."""
    digest = hashlib.sha256(data).digest()
    return pb.PrepareRequest(chunks=[pb.Chunk(image=pb.Image(data=data, digest=digest))])


async def about_images(generation: Generation, data: bytes) -> GenerationRequest:
    """A request with an image, which the replica has prepared."""
    preparation = images(data)
    reply = await generation.prepare(preparation)
    prompt = Prompt(
        token_ids=tuple(token_id % 250 for token_id in reply.token_ids),
        places=tuple(
            ImagePlace(start=place.start, end=place.start + place.length, digest=place.digest)
            for place in reply.images
        ),
        features_key=reply.features_key,
        preparation=preparation,
    )
    return GenerationRequest(prompt=prompt, max_new_tokens=12)


async def read(generation: Generation, request: GenerationRequest) -> list[int] | RouterError:
    """The tokens of the answer, or the error that ends it."""
    try:
        async with generation.stream(request) as stream:
            items: list[Token | Finish] = [item async for item in stream]
    except RouterError as error:
        return error
    return [item.token_id for item in items if isinstance(item, Token)]


@asynccontextmanager
async def started(
    choose: Choose = model, facts: pb.ModelFacts | None = None
) -> AsyncIterator[tuple[Generation, ScriptedLink]]:
    """Generation over a replica that answers with `choose`, and the link to kill it by."""
    link = ScriptedLink(ScriptedShard(choose, facts))
    generation = Generation(link, retry_seconds=0)
    await generation.start()
    try:
        yield generation, link
    finally:
        await generation.stop()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test, which must end within half a minute."""

    async def limited() -> None:
        await asyncio.wait_for(main(), timeout=30)

    asyncio.run(limited())
