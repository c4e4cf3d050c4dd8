"""The link to a shard in this process: its steps run on a thread, its images in its workers."""

import asyncio

from inlay_proto import generate_pb2 as pb
from inlay_router.links.link import LinkLost, PreparationRefused
from inlay_shard import errors as shard_errors
from inlay_shard.config import ShardConfig
from inlay_shard.images.image_workers import ImageWorkers
from inlay_shard.model.loading import Report
from inlay_shard.shard import Listener, Served, Shard


class EmbeddedLink:
    """A replica of one rank in this process; see Link. For the event loop that it is made on.

    Messages are handed over as they are: nobody changes one that was sent.
    """

    def __init__(self, config: ShardConfig, workers: ImageWorkers, report: Report) -> None:
        """The model begins to load with `connect`. `report` is called from any thread."""
        self._loop = asyncio.get_running_loop()
        listener = Listener(on_ready=self._on_ready, on_failure=self._on_failure, report=report)
        self._shard = Shard(config, workers, listener)
        self._is_started = False
        self._served: asyncio.Future[Served] = self._loop.create_future()
        self._results: asyncio.Queue[pb.StepResult | None] = asyncio.Queue()
        self.failure: asyncio.Future[BaseException] = self._loop.create_future()
        """Why the model could not be loaded, or which step failed for all: then it is over."""

    async def connect(self) -> pb.ModelFacts:
        """See Link. Waits for ever once it is over, which is for whoever watches `failure`."""
        if not self._is_started:
            self._is_started = True
            self._shard.start()
        served = await asyncio.shield(self._served)
        if self.failure.done():
            await self._loop.create_future()
        self._shard.steps.reset()
        self._results = asyncio.Queue()
        return served.facts

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """See Link."""
        served = await asyncio.shield(self._served)
        if served.eyes is None:
            raise PreparationRefused(f"{served.facts.model_id} takes no images")
        try:
            return await self._shard.images.prepare(request, served.eyes)
        except shard_errors.PreparationRefused as refusal:
            raise PreparationRefused(str(refusal)) from refusal

    async def send(self, step: pb.Step) -> None:
        """See Link."""
        if self.failure.done():
            raise LinkLost("the shard in this process has failed")
        results = self._results

        def deliver(result: pb.StepResult) -> None:
            self._loop.call_soon_threadsafe(results.put_nowait, result)

        self._shard.steps.submit(step, deliver)

    async def receive(self) -> pb.StepResult:
        """See Link."""
        result = await self._results.get()
        if result is None:
            raise LinkLost("the shard in this process has failed")
        return result

    async def is_alive(self, *, within: float) -> bool:
        """See Link. It lives as long as this process does."""
        return True

    async def end(self) -> None:
        """See Link. Threads cannot be ended from outside: a step that hangs goes on."""

    async def close(self) -> None:
        """See Link. Waits for the steps that were sent, and lets the model go."""
        if self._is_started:
            await asyncio.to_thread(self._shard.stop)

    def _on_ready(self, served: Served) -> None:
        """On the thread of the steps, as `_on_failure`."""
        self._loop.call_soon_threadsafe(self._served.set_result, served)

    def _on_failure(self, failure: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, failure)

    def _fail(self, failure: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_result(failure)
        self._results.put_nowait(None)
