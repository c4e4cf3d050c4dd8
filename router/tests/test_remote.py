"""The gRPC link against scripted shards that listen on Unix sockets in this process."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf import text_format
from listening_replica import Rank, served

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.links.link import LinkLost, LinkRefused, PreparationRefused
from inlay_router.links.remote import RemoteLink
from inlay_router.request import Finish, GenerationRequest, Prompt


def first_step(step_id: int = 1) -> pb.Step:
    return pb.Step(
        step_id=step_id,
        joining=[
            pb.Sequence(sequence_id=7, token_ids=[1, 2], num_prompt_tokens=2, max_new_tokens=4)
        ],
        growths=[pb.BlockGrowth(sequence_id=7, block_ids=[0])],
        rows=pb.Rows(sequence_ids=[7], num_tokens=[2]),
    )


def image(data: bytes) -> pb.PrepareRequest:
    return pb.PrepareRequest(chunks=[pb.Chunk(image=pb.Image(data=data, digest=b"d"))])


def test_steps_go_there_and_results_come_back_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Rank()) as replica:
            facts = await replica.link.connect()
            assert facts.model_id == "scripted"
            await replica.link.send(first_step())
            await replica.link.send(
                pb.Step(step_id=2, rows=pb.Rows(sequence_ids=[7], num_tokens=[1]))
            )
            results = [await replica.link.receive(), await replica.link.receive()]
            assert [result.step_id for result in results] == [1, 2]
            assert [len(result.token_ids) for result in results] == [1, 1]

    asyncio.run(main())


def test_connecting_waits_until_the_model_is_loaded(tmp_path: Path) -> None:
    async def main() -> None:
        slow = Rank()
        slow.num_health_checks_before_ready = 2
        async with served(tmp_path, slow) as replica:
            await replica.link.connect()
            assert slow.num_health_checks_before_ready == -1

    asyncio.run(main())


def test_connecting_waits_for_a_shard_that_does_not_listen_yet(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Rank()) as replica:
            await replica.down()
            connecting = asyncio.create_task(replica.link.connect())
            await asyncio.sleep(0)
            assert not connecting.done()
            await replica.up()
            assert (await connecting).model_id == "scripted"

    asyncio.run(main())


def test_every_rank_gets_every_step_and_any_rank_may_fail_a_row(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = Rank(num_shards=2), Rank(rank=1, num_shards=2)
        async with served(tmp_path, first, second) as replica:
            await replica.link.connect()
            await replica.link.prepare(image(b"fine"))
            step = first_step()
            step.joining[0].features_key = next(iter(first.shard.features))
            second.shard.features.clear()
            await replica.link.send(step)
            result = await replica.link.receive()
            assert list(result.sequence_ids) == [7]
            assert [failure.sequence_id for failure in result.failures] == [7]
            assert first.shard.held_ids == [7]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("num_blocks: 3", "ranks 0 and 1 differ in num_blocks"),
        ("rank: 0", "1.sock is rank 0 of 2, not rank 1 of 2"),
        ("num_shards: 4", "1.sock is rank 1 of 4, not rank 1 of 2"),
    ],
)
def test_ranks_that_do_not_belong_together_are_no_replica(
    tmp_path: Path, change: str, words: str
) -> None:
    async def main() -> None:
        second = Rank(rank=1, num_shards=2)
        text_format.Merge(change, second.shard.facts)
        async with served(tmp_path, Rank(num_shards=2), second) as replica:
            with pytest.raises(LinkLost, match=words):
                await replica.link.connect()

    asyncio.run(main())


def test_a_shard_that_goes_away_loses_the_link(tmp_path: Path) -> None:
    async def main() -> None:
        shard = Rank()
        shard.answers.clear()
        async with served(tmp_path, shard) as replica:
            await replica.link.connect()
            await replica.link.send(first_step())
            await shard.step_received.wait()
            await replica.down()
            with pytest.raises(LinkLost):
                await replica.link.receive()
            with pytest.raises(LinkLost):
                await replica.link.send(first_step(2))

    asyncio.run(main())


def test_a_link_can_be_connected_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Rank()) as replica:
            for _ in range(3):
                await replica.link.connect()
                await replica.link.send(first_step())
                assert (await replica.link.receive()).step_id == 1
                await replica.down()
                with pytest.raises(LinkLost):
                    await replica.link.receive()
                await replica.up()

    asyncio.run(main())


def test_a_replica_that_another_router_drives_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        shard = Rank()
        shard.is_taken = True
        async with served(tmp_path, shard) as replica:
            with pytest.raises(LinkRefused, match="another stream is open"):
                await replica.link.connect()
            with pytest.raises(LinkLost, match="not connected"):
                await replica.link.send(first_step())

    asyncio.run(main())


def test_two_routers_cannot_drive_one_replica(tmp_path: Path) -> None:
    async def main() -> None:
        ranks = [Rank(rank=rank, num_shards=2) for rank in range(2)]
        async with served(tmp_path, *ranks) as replica:
            await replica.link.connect()
            other = RemoteLink(replica.addresses)
            for _ in range(3):
                with pytest.raises(LinkRefused, match="another stream is open"):
                    await other.connect()
            await replica.link.send(first_step())
            assert (await replica.link.receive()).token_ids
            await replica.link.close()
            await until_connected(other)
            await other.send(first_step())
            assert (await other.receive()).token_ids
            await other.close()

    asyncio.run(main())


async def until_connected(link: RemoteLink) -> None:
    """The shards notice within a moment that the stream before has ended."""
    while True:
        try:
            await link.connect()
        except LinkRefused:
            await asyncio.sleep(0)
        else:
            return


def test_preparing_tells_the_clients_fault_from_the_shards(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Rank()) as replica:
            with pytest.raises(LinkLost):
                await replica.link.prepare(image(b"early"))
            await replica.link.connect()
            reply = await replica.link.prepare(image(b"fine"))
            assert [(place.start, place.length) for place in reply.images] == [(0, 4)]
            with pytest.raises(PreparationRefused, match="image 0 is broken"):
                await replica.link.prepare(image(b"broken"))
            with pytest.raises(LinkLost, match="worker died"):
                await replica.link.prepare(image(b"deadly"))

    asyncio.run(main())


def test_messages_may_exceed_the_four_megabytes_of_grpc(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Rank()) as replica:
            await replica.link.connect()
            await replica.link.prepare(image(b"x" * (5 << 20)))

    asyncio.run(main())


def test_a_stream_goes_on_when_the_shard_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        shard = Rank()
        async with served(tmp_path, shard) as replica:
            generation = Generation(replica.link, retry_seconds=0.001)
            await generation.start()
            request = GenerationRequest(prompt=Prompt(token_ids=(1, 2)), max_new_tokens=40)
            shard.answers.clear()
            async with generation.stream(request) as stream:
                await shard.step_received.wait()
                await replica.down()
                shard.answers.set()
                await replica.up()
                items = [item async for item in stream]
            assert isinstance(items[-1], Finish)
            assert items[-1].generated_text == "Hello, world"
            assert generation.stats.num_reconnects >= 1
            await generation.stop()

    asyncio.run(main())


def test_a_shard_that_does_not_answer_is_not_alive(tmp_path: Path) -> None:
    class Silent(Rank):
        is_silent = False

        async def Health(self, request: pb.HealthRequest, context: object) -> pb.HealthReply:
            if self.is_silent:
                await asyncio.Event().wait()
            return await super().Health(request, context)

    async def main() -> None:
        shard = Silent()
        async with served(tmp_path, shard) as there:
            await there.link.connect()
            assert await there.link.is_alive(within=10)
            shard.is_silent = True
            assert not await there.link.is_alive(within=0.02)

    asyncio.run(main())
