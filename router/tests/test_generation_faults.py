"""Streams over a replica that goes away, comes back, forgets and dies of a request."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.errors import GenerationFailed, RouterError, ValidationError
from inlay_router.links.link import LinkLost, PreparationRefused
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_deaths import dying
from inlay_router.links.scripted_shard import Choose, ScriptedShard, scripted_facts
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


def test_several_that_kill_the_shard_are_found_one_after_the_other() -> None:
    culprits = {61, 63, 64}

    async def main() -> None:
        poisoned = dying(lambda ids: ids[0] in culprits and len(ids) == 5, model)
        async with started(poisoned) as (generation, _):
            requests = [a_request(i, i) for i in range(60, 68)]
            answers = await asyncio.gather(*(read(generation, each) for each in requests))
            for number, request, answer in zip(range(60, 68), requests, answers, strict=True):
                if number in culprits:
                    assert isinstance(answer, GenerationFailed)
                else:
                    assert answer == undisturbed(request)
            assert generation.stats.num_reconnects == 2 + len(culprits), "twice in company"

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


def test_a_prompt_that_cannot_be_prepared_is_the_clients_or_the_shards_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inlay_router.faults.presence.NOTICE_SECONDS", 0.001)

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


def test_asking_again_for_what_stopped_the_shard_does_not_stop_it_again() -> None:
    def is_poisoned(token_ids: list[int]) -> bool:
        return token_ids[0] == POISON

    async def main() -> None:
        async with started(dying(is_poisoned, model)) as (generation, _):
            request = a_request(POISON)
            assert isinstance(await read(generation, request), GenerationFailed)
            num_deaths = generation.stats.num_reconnects
            assert isinstance(await read(generation, request), GenerationFailed)
            assert generation.stats.num_reconnects == num_deaths == 3

    run(main)


class PoisonedImages(ScriptedLink):
    """Dies of some images, in the midst of Prepare."""

    def __init__(self, *poison: bytes) -> None:
        super().__init__(ScriptedShard(model))
        self._poison = [hashlib.sha256(data).digest() for data in poison]

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        for _ in range(5):  # others begin meanwhile
            await asyncio.sleep(0)
        if any(chunk.image.digest in self._poison for chunk in request.chunks):
            await self.restart()
            raise LinkLost("connection reset")
        if not self._is_open:
            raise LinkLost("connection reset")
        return await super().prepare(request)


def test_images_that_kill_the_shard_fail_alone_and_streams_go_on() -> None:
    async def main() -> None:
        link = PoisonedImages(b"7")
        generation = Generation(link, retry_seconds=0)
        await generation.start()
        streams = [a_request(i, i + 1, max_new_tokens=200) for i in range(5)]
        readers = [asyncio.create_task(read(generation, stream)) for stream in streams]
        preparing = [
            asyncio.create_task(generation.prepare(images(str(number).encode())))
            for number in range(12)
        ]
        replies = await asyncio.gather(*preparing, return_exceptions=True)
        guilty = replies.pop(7)
        assert isinstance(guilty, GenerationFailed)
        assert "stop the shard" in str(guilty)
        assert all(isinstance(reply, pb.PrepareReply) for reply in replies)
        for stream, reader in zip(streams, readers, strict=True):
            assert await reader == undisturbed(stream)
        num_deaths = generation.stats.num_reconnects
        assert num_deaths == 3, "twice in company, once alone"
        with pytest.raises(GenerationFailed, match="stop the shard"):
            await generation.prepare(images(b"7"))
        assert generation.stats.num_reconnects == num_deaths
        await generation.stop()

    run(main)


def test_a_poisoned_image_and_a_poisoned_sequence_convict_nobody_else() -> None:
    async def main() -> None:
        link = PoisonedImages(b"3", b"5")
        link.shard.choose = dying(lambda token_ids: token_ids[0] == POISON, model)
        generation = Generation(link, retry_seconds=0)
        await generation.start()
        requests = [a_request(number) for number in range(POISON - 5, POISON + 5)]
        readers = [asyncio.create_task(read(generation, request)) for request in requests]
        preparing = [
            asyncio.create_task(about_images(generation, str(number).encode()))
            for number in range(9)
        ]
        replies = await asyncio.gather(*preparing, return_exceptions=True)
        failed = [n for n, reply in enumerate(replies) if isinstance(reply, GenerationFailed)]
        assert failed == [3, 5]
        for request, reader in zip(requests, readers, strict=True):
            if request.prompt.token_ids[0] == POISON:
                assert isinstance(await reader, GenerationFailed)
            else:
                assert await reader == undisturbed(request)
        await generation.stop()

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
