"""Generation over a scripted link: requests, and what their streams bring."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.generation import Generation
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import ScriptedShard
from inlay_router.request import Finish, GenerationRequest, Prompt, Token

T = TypeVar("T")


def a_request(**changes: object) -> GenerationRequest:
    """A request of three tokens for forty, but for `changes` of its fields."""
    fields: dict[str, object] = {"prompt": Prompt(token_ids=(1, 2, 3)), "max_new_tokens": 40}
    return GenerationRequest(**(fields | changes))  # type: ignore[arg-type]


async def read(generation: Generation, request: GenerationRequest) -> list[Token | Finish]:
    """All that its stream brings."""
    async with generation.stream(request) as stream:
        return [item async for item in stream]


@asynccontextmanager
async def started(
    link: ScriptedLink, limits: BatchLimits | None = None
) -> AsyncIterator[Generation]:
    """Generation over `link`; its clock goes on by a second each time it is read."""
    clock = itertools.count()
    generation = Generation(link, limits, clock=lambda: float(next(clock)), retry_seconds=0)
    await generation.start()
    try:
        yield generation
    finally:
        await generation.stop()


def generate(
    request: GenerationRequest, shard: ScriptedShard | None = None
) -> list[Token | Finish]:
    """All that a request brings alone."""

    async def main() -> list[Token | Finish]:
        async with started(ScriptedLink(shard)) as generation:
            return await read(generation, request)

    return asyncio.run(main())


def finish_of(items: list[Token | Finish]) -> Finish:
    """The end of a stream that ended well."""
    assert isinstance(items[-1], Finish)
    return items[-1]


def tokens_of(items: list[Token | Finish]) -> list[Token]:
    """The tokens of a stream."""
    return [item for item in items if isinstance(item, Token)]


async def within(awaitable: Awaitable[T]) -> T:
    """Wait, but no longer than twenty seconds."""
    return await asyncio.wait_for(awaitable, timeout=20)
