"""Ranks of a replica that listen on Unix sockets in this process, and a link to them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from listening_shard import Context, ListeningShard, listening

from inlay_proto import generate_pb2 as pb
from inlay_router.links.remote import RemoteLink
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts


class Rank(ListeningShard):
    """One of the ranks of a replica; the first sends tokens, the others their failures alone."""

    def __init__(self, *, rank: int = 0, num_shards: int = 1) -> None:
        facts = scripted_facts()
        facts.rank, facts.num_shards = rank, num_shards
        super().__init__(ScriptedShard(facts=facts))
        self.num_health_checks_before_ready = 0
        self.step_received = asyncio.Event()
        self.answers = asyncio.Event()
        """Results wait while it is not set."""
        self.answers.set()

    async def Health(self, request: pb.HealthRequest, context: object) -> pb.HealthReply:
        """It loads for a while."""
        self.num_health_checks_before_ready -= 1
        return pb.HealthReply(is_ready=self.num_health_checks_before_ready < 0, status="loading")

    async def Prepare(self, request: pb.PrepareRequest, context: Context) -> pb.PrepareReply:
        """Some images are broken, and some break the shard."""
        if any(chunk.image.data == b"broken" for chunk in request.chunks):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "image 0 is broken")
        if any(chunk.image.data == b"deadly" for chunk in request.chunks):
            await context.abort(grpc.StatusCode.INTERNAL, "worker died")
        return self.shard.prepare(request)

    async def results(
        self, steps: AsyncIterator[pb.Step], context: Context
    ) -> AsyncGenerator[pb.StepResult, None]:
        """See ListeningShard."""
        await context.send_initial_metadata(())
        async for step in steps:
            self.step_received.set()
            await self.answers.wait()
            result = self.shard.run(step)
            is_first = self.shard.facts.rank == 0
            slim = pb.StepResult(step_id=result.step_id, failures=result.failures)
            yield result if is_first else slim


class Served:
    """Ranks on sockets, and a link to them."""

    def __init__(self, folder: Path, ranks: list[Rank]) -> None:
        self.addresses = [f"unix:{folder}/{i}.sock" for i in range(len(ranks))]
        self.link = RemoteLink(self.addresses)
        self._ranks = ranks
        self._servers = AsyncExitStack()

    async def up(self) -> None:
        """All ranks listen."""
        for rank, address in zip(self._ranks, self.addresses, strict=True):
            await self._servers.enter_async_context(listening(rank, address))

    async def down(self) -> None:
        """None listens."""
        await self._servers.aclose()


@asynccontextmanager
async def served(folder: Path, *ranks: Rank) -> AsyncIterator[Served]:
    """A replica that listens."""
    served = Served(folder, list(ranks))
    await served.up()
    try:
        yield served
    finally:
        await served.link.close()
        await served.down()
