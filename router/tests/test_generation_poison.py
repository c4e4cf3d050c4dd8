"""Requests and images that kill the replica are found, and nobody else is convicted."""

import asyncio
import hashlib

import pytest
from mortal_replica import a_request, about_images, images, model, read, run, started, undisturbed

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.errors import GenerationFailed
from inlay_router.links.link import LinkLost
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_deaths import dying
from inlay_router.links.scripted_shard import ScriptedShard

POISON = 66


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
