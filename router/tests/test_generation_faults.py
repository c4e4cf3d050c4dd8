"""Streams over a replica that goes away, comes back, forgets and dies of a request."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import GenerationFailed, RouterError, ValidationError
from inlay_router.generation import Generation
from inlay_router.links.link import LinkLost, PreparationRefused
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import Choose, ScriptedShard, dying, scripted_facts
from inlay_router.request import Finish, GenerationRequest, ImagePlace, Prompt, Token

T = TypeVar("T")
POISON = 66


def model(token_ids: list[int], num_prompt_tokens: int) -> int:
    """A letter that depends on the whole context."""
    return 32 + hashlib.sha256(bytes(token_ids)).digest()[0] % 60


def undisturbed(request: GenerationRequest) -> list[int]:
    token_ids = list(request.prompt.token_ids)
    for _ in range(request.max_new_tokens):
        token_ids.append(model(token_ids, 0))
    return token_ids[len(request.prompt.token_ids) :]


def a_request(*token_ids: int, max_new_tokens: int = 12) -> GenerationRequest:
    return GenerationRequest(prompt=Prompt(token_ids=token_ids), max_new_tokens=max_new_tokens)


def images(data: bytes) -> pb.PrepareRequest:
    digest = hashlib.sha256(data).digest()
    return pb.PrepareRequest(chunks=[pb.Chunk(image=pb.Image(data=data, digest=digest))])


async def about_images(generation: Generation, data: bytes) -> GenerationRequest:
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
    link = ScriptedLink(ScriptedShard(choose, facts))
    generation = Generation(link, retry_seconds=0)
    await generation.start()
    try:
        yield generation, link
    finally:
        await generation.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main(), timeout=30)

    asyncio.run(limited())


@pytest.mark.parametrize("num_steps", range(0, 14, 3))
def test_a_stream_reads_on_as_if_the_shard_had_not_died(num_steps: int) -> None:
    async def main() -> None:
        async with started() as (generation, link):
            requests = [a_request(i, i + 1) for i in range(5)]
            readers = [asyncio.create_task(read(generation, request)) for request in requests]
            await until(lambda: len(link.steps) >= num_steps)
            await link.die()
            await until(lambda: not generation.is_ready)
            await link.revive()
            for request, reader in zip(requests, readers, strict=True):
                assert await reader == undisturbed(request)
            assert generation.stats.num_reconnects == 1
            assert generation.stats.num_blocks_used == 0

    run(main)


def test_requests_queue_while_the_replica_is_away() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            await link.die()
            await until(lambda: not generation.is_ready)
            request = a_request(5)
            reader = asyncio.create_task(read(generation, request))
            await until(lambda: generation.stats.num_waiting == 1)
            await link.revive()
            assert await reader == undisturbed(request)
            assert generation.is_ready

    run(main)


def test_a_stream_survives_many_deaths_as_long_as_it_gets_further() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            request = a_request(5, max_new_tokens=60)
            async with generation.stream(request) as stream:
                token_ids = []
                async for item in stream:
                    if isinstance(item, Token):
                        token_ids.append(item.token_id)
                        await link.restart()
            assert token_ids == undisturbed(request)
            assert generation.stats.num_reconnects > 20

    run(main)


def test_a_request_that_kills_the_shard_fails_alone() -> None:
    def is_poisoned(token_ids: list[int]) -> bool:
        return token_ids[0] == POISON and len(token_ids) == 5

    async def main() -> None:
        async with started(dying(is_poisoned, model)) as (generation, link):
            requests = [a_request(i, i) for i in range(POISON - 4, POISON + 4)]
            answers = await asyncio.gather(*(read(generation, each) for each in requests))
            for request, answer in zip(requests, answers, strict=True):
                if request.prompt.token_ids[0] == POISON:
                    assert isinstance(answer, GenerationFailed)
                    assert "it stops the shard" in str(answer)
                else:
                    assert answer == undisturbed(request)
            assert generation.stats.num_reconnects == 3, "twice in company, once alone"

    run(main)


def test_a_refused_stream_of_steps_convicts_nobody() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            link.num_refusals = 8
            await link.restart()
            request = a_request(5)
            assert await read(generation, request) == undisturbed(request)
            assert link.num_refusals == 0

    run(main)


def test_images_are_prepared_again_after_every_restart() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            request = await about_images(generation, b"cat")
            token_ids = []
            async with generation.stream(request) as stream:
                async for item in stream:
                    if isinstance(item, Token):
                        token_ids.append(item.token_id)
                        await link.restart()
            assert token_ids == undisturbed(request)
            assert generation.stats.num_reconnects > 3

    run(main)


def test_images_that_fell_out_of_the_cache_are_prepared_again() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            request = await about_images(generation, b"cat")
            link.shard.features.clear()
            assert await read(generation, request) == undisturbed(request)

    run(main)


def test_images_that_never_stay_fail_the_request() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            request = await about_images(generation, b"cat")
            reply = link.shard.prepare(images(b"cat"))
            link.shard.features.clear()
            link.shard.prepare = lambda request: reply  # type: ignore[method-assign]
            assert isinstance(await read(generation, request), GenerationFailed)

    run(main)


def test_a_client_that_leaves_while_its_images_are_prepared_again_is_forgotten() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            request = await about_images(generation, b"cat")
            reader = asyncio.create_task(read(generation, request))
            await until(lambda: generation.stats.num_running == 1)
            await link.die()
            await until(lambda: not generation.is_ready)
            reader.cancel()
            await link.revive()
            await asyncio.gather(reader, return_exceptions=True)
            await until(lambda: generation.is_ready)
            assert generation.stats.num_waiting == generation.stats.num_running == 0

    run(main)


def test_preparing_waits_out_a_restart() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            await link.die()
            await until(lambda: not generation.is_ready)
            preparing = asyncio.create_task(generation.prepare(images(b"cat")))
            await asyncio.sleep(0)
            await link.revive()
            assert (await preparing).features_key

    run(main)


def test_a_prompt_that_cannot_be_prepared_is_the_clients_or_the_shards_fault() -> None:
    def refuse(request: pb.PrepareRequest) -> pb.PrepareReply:
        raise PreparationRefused("image 0 is too small")

    def lose(request: pb.PrepareRequest) -> pb.PrepareReply:
        raise LinkLost("a worker died")

    async def main() -> None:
        async with started() as (generation, link):
            link.shard.prepare = refuse  # type: ignore[method-assign]
            with pytest.raises(ValidationError, match="image 0 is too small"):
                await generation.prepare(images(b"cat"))
            link.shard.prepare = lose  # type: ignore[method-assign]
            with pytest.raises(GenerationFailed, match="could not be prepared"):
                await generation.prepare(images(b"cat"))

    run(main)


@pytest.mark.parametrize("seed", range(4))
def test_no_stream_is_lost_or_altered_in_a_storm(seed: int) -> None:
    """Arrivals, departures, restarts and evictions in random order, on a pool that is too small."""

    async def client(generation: Generation, dice: random.Random) -> None:
        request = a_request(*dice.choices(range(250), k=dice.randint(1, 20)))
        if dice.random() < 0.3:
            request = await about_images(generation, bytes([dice.randint(0, 3)]))
        reader = asyncio.create_task(read(generation, request))
        if dice.random() < 0.3:
            for _ in range(dice.randint(0, 30)):
                await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
        else:
            assert await reader == undisturbed(request)

    async def storm(link: ScriptedLink, dice: random.Random) -> None:
        for _ in range(12):
            for _ in range(dice.randint(5, 60)):
                await asyncio.sleep(0)
            if dice.random() < 0.5:
                link.shard.features.clear()
            else:
                await link.restart()

    async def main() -> None:
        dice = random.Random(seed)
        facts = scripted_facts(num_blocks=9, block_size=5)
        async with started(model, facts) as (generation, link):
            clients = (client(generation, random.Random(dice.random())) for _ in range(40))
            await asyncio.gather(storm(link, dice), *clients)
            await until(lambda: generation.stats.num_running == 0)
            assert generation.stats.num_blocks_used == generation.stats.num_waiting == 0

    run(main)
