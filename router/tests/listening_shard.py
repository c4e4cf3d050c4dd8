"""Scripted shards behind gRPC, in this process."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeAlias

import grpc
import grpc.aio

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardServicer, add_ShardServicer_to_server
from inlay_router.links.scripted_shard import ScriptedShard

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ListeningShard(ShardServicer):
    """A ScriptedShard behind gRPC, whose steps one stream may drive at a time."""

    def __init__(self, shard: ScriptedShard | None = None) -> None:
        self.shard = shard or ScriptedShard()
        self.is_taken = False
        """Whether a stream of steps is open."""

    async def Health(self, request: pb.HealthRequest, context: object) -> pb.HealthReply:
        """It is always well."""
        return pb.HealthReply(is_ready=True, status="ready")

    async def Describe(self, request: pb.DescribeRequest, context: object) -> pb.ModelFacts:
        """What the scripted shard says of its model."""
        return self.shard.facts

    async def Run(
        self, steps: AsyncIterator[pb.Step], context: Context
    ) -> AsyncIterator[pb.StepResult]:
        """Results of `results`, unless another stream is open."""
        if self.is_taken:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another stream is open")
        self.is_taken = True
        try:
            self.shard.open()
            async with aclosing(self.results(steps, context)) as results:
                async for result in results:
                    yield result
        finally:
            self.is_taken = False

    async def results(
        self, steps: AsyncIterator[pb.Step], context: Context
    ) -> AsyncGenerator[pb.StepResult, None]:
        """What the steps bring; a test may put something else in its place."""
        await context.send_initial_metadata(())
        async for step in steps:
            yield self.shard.run(step)


@asynccontextmanager
async def listening(shard: ShardServicer, address: str) -> AsyncIterator[grpc.aio.Server]:
    """The shard's server, at this address for as long as the context lasts."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    add_ShardServicer_to_server(shard, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(None)
