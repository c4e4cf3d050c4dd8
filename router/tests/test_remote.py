"""The gRPC link against scripted shards that listen on Unix sockets in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf import text_format

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardServicer, add_ShardServicer_to_server
from inlay_router.batching.generation import Generation
from inlay_router.links.link import LinkLost, LinkRefused, PreparationRefused
from inlay_router.links.remote import RemoteLink
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts
from inlay_router.request import Finish, GenerationRequest, Prompt


class Servicer(ShardServicer):
    """A ScriptedShard behind gRPC."""

    def __init__(self, *, rank: int = 0, num_shards: int = 1) -> None:
        facts = scripted_facts()
        facts.rank, facts.num_shards = rank, num_shards
        self.shard = ScriptedShard(facts=facts)
        self.num_health_checks_before_ready = 0
        self.is_taken = False
        self.step_received = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def Health(self, request: pb.HealthRequest, context: object) -> pb.HealthReply:
        self.num_health_checks_before_ready -= 1
        return pb.HealthReply(is_ready=self.num_health_checks_before_ready < 0, status="loading")

    async def Describe(self, request: pb.DescribeRequest, context: object) -> pb.ModelFacts:
        return self.shard.facts

    async def Prepare(
        self, request: pb.PrepareRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.PrepareReply:
        if any(chunk.image.data == b"broken" for chunk in request.chunks):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "image 0 is broken")
        if any(chunk.image.data == b"deadly" for chunk in request.chunks):
            await context.abort(grpc.StatusCode.INTERNAL, "worker died")
        return self.shard.prepare(request)

    async def Run(
        self,
        steps: AsyncIterator[pb.Step],
        context: "grpc.aio.ServicerContext[object, object]",
    ) -> AsyncIterator[pb.StepResult]:
        if self.is_taken:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another stream is open")
        self.is_taken = True
        try:
            await context.send_initial_metadata(())
            async for result in self._run(steps):
                yield result
        finally:
            self.is_taken = False

    async def _run(self, steps: AsyncIterator[pb.Step]) -> AsyncIterator[pb.StepResult]:
        self.shard.open()
        async for step in steps:
            self.step_received.set()
            await self.answers.wait()
            result = self.shard.run(step)
            is_first = self.shard.facts.rank == 0
            slim = pb.StepResult(step_id=result.step_id, failures=result.failures)
            yield result if is_first else slim


class Served:
    """Servicers on sockets, and a link to them."""

    def __init__(self, folder: Path, servicers: list[Servicer]) -> None:
        self.servicers = servicers
        self.addresses = [f"unix:{folder}/{i}.sock" for i in range(len(servicers))]
        self.link = RemoteLink(self.addresses)
        self._servers: list[grpc.aio.Server] = []

    async def up(self) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        self._servers = [grpc.aio.server(options=options) for _ in self.servicers]
        for server, servicer, address in zip(
            self._servers, self.servicers, self.addresses, strict=True
        ):
            add_ShardServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
            server.add_insecure_port(address)
            await server.start()

    async def down(self) -> None:
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop(None) for server in servers))


@asynccontextmanager
async def served(folder: Path, *servicers: Servicer) -> AsyncIterator[Served]:
    served = Served(folder, list(servicers))
    await served.up()
    try:
        yield served
    finally:
        await served.link.close()
        await served.down()


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
        async with served(tmp_path, Servicer()) as replica:
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
        slow = Servicer()
        slow.num_health_checks_before_ready = 2
        async with served(tmp_path, slow) as replica:
            await replica.link.connect()
            assert slow.num_health_checks_before_ready == -1

    asyncio.run(main())


def test_connecting_waits_for_a_shard_that_does_not_listen_yet(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Servicer()) as replica:
            await replica.down()
            connecting = asyncio.create_task(replica.link.connect())
            await asyncio.sleep(0)
            assert not connecting.done()
            await replica.up()
            assert (await connecting).model_id == "scripted"

    asyncio.run(main())


def test_every_rank_gets_every_step_and_any_rank_may_fail_a_row(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = Servicer(num_shards=2), Servicer(rank=1, num_shards=2)
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
        second = Servicer(rank=1, num_shards=2)
        text_format.Merge(change, second.shard.facts)
        async with served(tmp_path, Servicer(num_shards=2), second) as replica:
            with pytest.raises(LinkLost, match=words):
                await replica.link.connect()

    asyncio.run(main())


def test_a_shard_that_goes_away_loses_the_link(tmp_path: Path) -> None:
    async def main() -> None:
        servicer = Servicer()
        servicer.answers.clear()
        async with served(tmp_path, servicer) as replica:
            await replica.link.connect()
            await replica.link.send(first_step())
            await servicer.step_received.wait()
            await replica.down()
            with pytest.raises(LinkLost):
                await replica.link.receive()
            with pytest.raises(LinkLost):
                await replica.link.send(first_step(2))

    asyncio.run(main())


def test_a_link_can_be_connected_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, Servicer()) as replica:
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
        servicer = Servicer()
        servicer.is_taken = True
        async with served(tmp_path, servicer) as replica:
            with pytest.raises(LinkRefused, match="another stream is open"):
                await replica.link.connect()
            with pytest.raises(LinkLost, match="not connected"):
                await replica.link.send(first_step())

    asyncio.run(main())


def test_two_routers_cannot_drive_one_replica(tmp_path: Path) -> None:
    async def main() -> None:
        servicers = [Servicer(rank=rank, num_shards=2) for rank in range(2)]
        async with served(tmp_path, *servicers) as replica:
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
        async with served(tmp_path, Servicer()) as replica:
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
        async with served(tmp_path, Servicer()) as replica:
            await replica.link.connect()
            await replica.link.prepare(image(b"x" * (5 << 20)))

    asyncio.run(main())


def test_a_stream_goes_on_when_the_shard_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        servicer = Servicer()
        async with served(tmp_path, servicer) as replica:
            generation = Generation(replica.link, retry_seconds=0.001)
            await generation.start()
            request = GenerationRequest(prompt=Prompt(token_ids=(1, 2)), max_new_tokens=40)
            servicer.answers.clear()
            async with generation.stream(request) as stream:
                await servicer.step_received.wait()
                await replica.down()
                servicer.answers.set()
                await replica.up()
                items = [item async for item in stream]
            assert isinstance(items[-1], Finish)
            assert items[-1].generated_text == "Hello, world"
            assert generation.stats.num_reconnects >= 1
            await generation.stop()

    asyncio.run(main())


def test_a_shard_that_does_not_answer_is_not_alive(tmp_path: Path) -> None:
    class Silent(Servicer):
        is_silent = False

        async def Health(self, request: pb.HealthRequest, context: object) -> pb.HealthReply:
            if self.is_silent:
                await asyncio.Event().wait()
            return await super().Health(request, context)

    async def main() -> None:
        servicer = Silent()
        async with served(tmp_path, servicer) as there:
            await there.link.connect()
            assert await there.link.is_alive(within=10)
            servicer.is_silent = True
            assert not await there.link.is_alive(within=0.02)

    asyncio.run(main())
