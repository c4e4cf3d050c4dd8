"""Streams over a replica that goes away, comes back and forgets."""

import asyncio
import random

import pytest
from mortal_replica import a_request, about_images, images, model, read, run, started, undisturbed
from scripted_router import eventually

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.errors import GenerationFailed, ValidationError
from inlay_router.links.link import LinkLost, PreparationRefused
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import Token


@pytest.mark.parametrize("num_steps", range(0, 14, 3))
def test_a_stream_reads_on_as_if_the_shard_had_not_died(num_steps: int) -> None:
    async def main() -> None:
        async with started() as (generation, link):
            requests = [a_request(i, i + 1) for i in range(5)]
            readers = [asyncio.create_task(read(generation, request)) for request in requests]
            await eventually(lambda: len(link.steps) >= num_steps)
            await link.die()
            await eventually(lambda: not generation.is_ready)
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
            await eventually(lambda: not generation.is_ready)
            request = a_request(5)
            reader = asyncio.create_task(read(generation, request))
            await eventually(lambda: generation.stats.num_waiting == 1)
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
            await eventually(lambda: generation.stats.num_running == 1)
            await link.die()
            await eventually(lambda: not generation.is_ready)
            reader.cancel()
            await link.revive()
            await asyncio.gather(reader, return_exceptions=True)
            await eventually(lambda: generation.is_ready)
            assert generation.stats.num_waiting == generation.stats.num_running == 0

    run(main)


def test_preparing_waits_out_a_restart() -> None:
    async def main() -> None:
        async with started() as (generation, link):
            await link.die()
            await eventually(lambda: not generation.is_ready)
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
            await eventually(lambda: generation.stats.num_running == 0)
            assert generation.stats.num_blocks_used == generation.stats.num_waiting == 0

    run(main)
