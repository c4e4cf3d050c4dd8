"""The gRPC service of one shard: it moves messages, and leaves steps to their thread."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardServicer
from inlay_proto.step_pipe import Pipe, offering
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.desk import ImageDesk
from inlay_shard.shard import Served
from inlay_shard.steps.worker import StepThread


class ShardService(ShardServicer):
    """Answers the router. For one event loop."""

    def __init__(self, steps: StepThread, images: ImageDesk, pipe_address: str = "") -> None:
        """Steps may come past gRPC where `pipe_address`, at which gRPC listens, is a file."""
        self._steps = steps
        self._images = images
        self._pipe_address = pipe_address
        self._served: Served | None = None
        self._is_running = False
        self.status = "starting"
        """What the shard is doing, in words."""

    def serve(self, served: Served) -> None:
        """The model is loaded: steps can run from now on."""
        self._served = served
        self.status = "ready"

    async def Health(self, request: pb.HealthRequest, context: Any) -> pb.HealthReply:
        """At any time."""
        return pb.HealthReply(is_ready=self._served is not None, status=self.status)

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.ModelFacts:
        """FAILED_PRECONDITION until the model is loaded."""
        return (await self._loaded(context)).facts

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> pb.PrepareReply:
        """INVALID_ARGUMENT, with words for the client, when the prompt cannot be used."""
        served = await self._loaded(context)
        try:
            if served.eyes is None:
                raise PreparationRefused(f"{served.facts.model_id} takes no images")
            return await self._images.prepare(request, served.eyes)
        except PreparationRefused as refusal:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
            raise AssertionError("abort raises") from refusal

    async def Run(
        self, request_iterator: AsyncIterator[pb.Step], context: Any
    ) -> AsyncIterator[pb.StepResult]:
        """The one stream of steps; FAILED_PRECONDITION while another one is open."""
        await self._loaded(context)
        if self._is_running:
            reason = "another stream of steps is open"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
        self._is_running = True
        try:
            async with offering(self._pipe_address, self._take) as metadata:
                await context.send_initial_metadata(metadata)  # so that the router knows
                async for result in self._run(request_iterator):
                    yield result
        finally:
            self._is_running = False
            self._steps.reset()

    def _take(self, pipe: Pipe, message: bytes) -> None:
        """A step that came past gRPC; its result goes back the same way."""
        loop = asyncio.get_running_loop()

        def deliver(result: pb.StepResult) -> None:
            loop.call_soon_threadsafe(lambda: pipe.send(result.SerializeToString()))

        self._steps.submit(pb.Step.FromString(message), deliver)

    async def _run(self, steps: AsyncIterator[pb.Step]) -> AsyncIterator[pb.StepResult]:
        """Results in the order of the steps; ends when the router has closed its side and every
        step has been answered."""
        results: asyncio.Queue[pb.StepResult | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(result: pb.StepResult | None) -> None:
            loop.call_soon_threadsafe(results.put_nowait, result)

        async def submit_all() -> int:
            num_steps = 0
            try:
                async for step in steps:
                    self._steps.submit(step, deliver)
                    num_steps += 1
            finally:
                results.put_nowait(None)
            return num_steps

        submitting = asyncio.create_task(submit_all())
        num_answered = 0
        try:
            while not submitting.done() or num_answered < submitting.result():
                if (result := await results.get()) is not None:
                    num_answered += 1
                    yield result
        finally:
            submitting.cancel()

    async def _loaded(self, context: Any) -> Served:
        if self._served is None:
            reason = f"the model is not loaded yet: {self.status}"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
        assert self._served is not None
        return self._served
