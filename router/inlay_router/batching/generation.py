"""Drives the batcher over a link: one task sends steps, one settles results, streams get tokens."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.delivery import Delivery
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence
from inlay_router.errors import (
    GenerationFailed,
    IncompleteGeneration,
    RouterError,
    ValidationError,
)
from inlay_router.faults.convictions import Convictions, name_of_sequence
from inlay_router.faults.hanging import connect, end_if_hung
from inlay_router.faults.patience import Patience
from inlay_router.faults.preparations import Preparations
from inlay_router.faults.presence import Presence
from inlay_router.faults.quarantine import VERDICT
from inlay_router.faults.retrying import pause
from inlay_router.faults.seclusion import Seclusion
from inlay_router.links.link import Link, LinkLost, LinkRefused
from inlay_router.request import GenerationRequest
from inlay_router.telemetry.observer import StepObserver, Unobserved
from inlay_router.telemetry.snapshot import snapshot
from inlay_router.telemetry.stats import Stats
from inlay_router.telemetry.step_times import StepTimes
from inlay_router.text.answer import Answer
from inlay_router.text.tokenizer import Tokenizer

_logger = logging.getLogger(__name__)

_NUM_REPAIRS_MAX = 3
"""Times that features may be gone when a sequence joins, without a token between."""


class Generation:
    """Streams over one replica, which may go away and come back without a stream noticing."""

    facts: pb.ModelFacts
    """What the replica said of itself when it was last connected; set by `start`."""
    tokenizer: Tokenizer
    """Of `facts.tokenizer_json`; set by `start`."""

    def __init__(
        self,
        link: Link,
        limits: BatchLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        retry_seconds: float = 0.05,
        step_timeout: float = 120.0,
    ) -> None:
        """`retry_seconds` is the first pause between attempts, see `pause`. A replica that takes
        longer than `step_timeout` seconds for a step counts as hung."""
        self._link = link
        self._limits = limits or BatchLimits()
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._batcher = Batcher(self._limits, Replica())
        self.step_times = StepTimes()
        self._answers: dict[Sequence, Answer] = {}
        self._presence = Presence()
        self.observer: StepObserver = Unobserved()
        """Told of every step; set it before the first request."""
        self._patience = Patience(step_timeout)
        self._has_work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._num_connects = 0
        self._num_failures = 0  # of connections that brought no result, in a row
        self._has_died = False  # rather than refused us, when it was lost last
        self._convictions = Convictions(clock)
        self._seclusion = Seclusion(
            num_steps=lambda: self._batcher.num_in_flight,
            has_suspects=lambda: self._batcher.has_suspects,
            on_change=self._has_work.set,
        )
        self._preparations = Preparations(
            link=link,
            seclusion=self._seclusion,
            convictions=self._convictions,
            presence=self._presence,
        )

    async def start(self) -> pb.ModelFacts:
        """Connect, which takes as long as the model loads, and begin to run steps."""
        await self._connect()
        self._spawn(self._drive())
        return self.facts

    async def stop(self) -> None:
        """End every stream with IncompleteGeneration and close the link."""
        self._presence.end()
        self._seclusion.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for answer in self._answers.values():
            answer.fail(IncompleteGeneration())
        await self._link.close()

    @property
    def is_ready(self) -> bool:
        """Whether the replica is connected now."""
        return self._presence.is_here

    @property
    def stats(self) -> Stats:
        """A snapshot."""
        return snapshot(self._batcher, num_reconnects=max(0, self._num_connects - 1))

    @asynccontextmanager
    async def stream(
        self, request: GenerationRequest, client_id: str = ""
    ) -> AsyncIterator[Answer]:
        """Tokens as they are chosen, then one Finish. Call it after `start`. `client_id` says whose
        turn in the queue it takes.

        Entering raises Overloaded when the queue is full, ValidationError when the sequence can
        never fit the KV pool, GenerationFailed when one like it stopped the shards, and
        IncompleteGeneration after `stop`. Iterating raises
        GenerationFailed, ValidationError (the shard found the client at fault) or
        IncompleteGeneration. Leaving the context, also by cancellation, frees the sequence's
        blocks in the next step.
        """
        if self._presence.is_over:
            raise IncompleteGeneration
        if self._convictions.holds(lambda: name_of_sequence(request)):
            raise GenerationFailed(VERDICT)
        answer = Answer(request, self.tokenizer, self._clock, client_id)
        self._batcher.add(answer.sequence)
        self._answers[answer.sequence] = answer
        self._has_work.set()
        try:
            yield answer
        finally:
            del self._answers[answer.sequence]
            self._drop(answer)

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepare a prompt with images on every rank; waits out a restart of the shards.

        Raises ValidationError when the model's processor refuses it, and GenerationFailed when
        it stops the shards.
        """
        return await self._preparations.run(request)

    async def _drive(self) -> None:
        """Run steps over the connection; when it is lost, over the next."""
        while True:
            try:
                if not self.is_ready:
                    await self._connect()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._send_steps())
                    tasks.create_task(self._settle_results())
                    tasks.create_task(end_if_hung(self._link, self._patience))
            except* LinkLost as lost:
                _logger.warning("the replica is away: %s", lost.exceptions[0])
                self._has_died = lost.subgroup(LinkRefused) is None
            except* Exception as broken:
                _logger.error("the router is at fault, every stream ends", exc_info=broken)
                self._abandon()
            self.observer.lost()
            if self._presence.is_over:  # a fault in the same moment hides the cancellation
                return
            self._presence.go()
            self._num_failures += 1

    async def _connect(self) -> None:
        """Try until the replica is there."""
        while True:
            if self._num_failures:
                await pause(self._retry_seconds, self._num_failures - 1)
            try:
                facts = await connect(self._link, self._patience)
                break
            except LinkLost as lost:
                _logger.warning("the replica cannot be reached: %s", lost)
                self._num_failures += 1
        self._welcome(facts)

    def _welcome(self, facts: pb.ModelFacts) -> None:
        """The replica is connected and knows no sequence."""
        if not self._num_connects:
            self.tokenizer = Tokenizer(facts.tokenizer_json)
        self.facts = facts
        self._num_connects += 1
        self.step_times.reset()
        self._patience.reset()
        self._deliver(self._batcher.reset(Replica.of(facts), has_died=self._has_died))
        self._presence.come()
        self._seclusion.ring()

    async def _send_steps(self) -> None:
        while True:
            while (step := self._next_step()) is not None:
                self._note_starts(step)
                self.observer.sent(step)
                await self._link.send(step)
            self._has_work.clear()
            await self._has_work.wait()

    def _next_step(self) -> pb.Step | None:
        if not self._seclusion.admits_steps:
            return None
        begun = time.perf_counter()
        step = self._batcher.next_step()
        if step is not None:
            self.step_times.scheduled(time.perf_counter() - begun)
            self._patience.sent(time.monotonic())
        return step

    async def _settle_results(self) -> None:
        while True:
            result = await self._link.receive()
            self._num_failures = 0
            self._patience.answered(time.monotonic())
            begun = time.perf_counter()
            deliveries = self._batcher.settle(result)
            self._has_work.set()
            self._seclusion.ring()
            spent = time.perf_counter() - begun
            await asyncio.sleep(0)  # The next step goes out before anyone reads about this one.
            begun = time.perf_counter()
            self._deliver(deliveries)
            self.step_times.delivered(result.timings, time.perf_counter() - begun + spent)
            self.observer.settled(result)

    def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Give each sequence's news to its answer. A fault here ends that answer only."""
        for delivery in deliveries:
            answer = self._answers.get(delivery.sequence)
            if answer is None:
                continue
            try:
                if delivery.failure is not None:
                    self._handle_failure(answer, delivery.failure)
                else:
                    answer.take(delivery)
            except Exception:
                _logger.exception("a result could not be delivered")
                answer.fail(IncompleteGeneration())
            if answer.is_over:
                self._drop(answer)

    def _handle_failure(self, answer: Answer, failure: pb.RowFailure) -> None:
        match failure.kind:
            case pb.RowFailure.KIND_FEATURES_MISSING if answer.num_repairs < _NUM_REPAIRS_MAX:
                answer.num_repairs += 1
                self._spawn(self._repair(answer))
            case pb.RowFailure.KIND_INVALID:
                answer.fail(ValidationError(failure.message))
            case _:
                if failure.message == VERDICT:
                    self._convictions.add(name_of_sequence(answer.sequence.request))
                answer.fail(GenerationFailed(failure.message))

    async def _repair(self, answer: Answer) -> None:
        """Prepare the images of an answer once more, and let its sequence join again."""
        preparation = answer.sequence.request.prompt.preparation
        try:
            if preparation is not None:
                await self.prepare(preparation)
        except RouterError as error:
            answer.fail(error)
        if answer.sequence in self._answers and not answer.is_over:
            self._batcher.resume(answer.sequence)
            self._has_work.set()

    def _note_starts(self, step: pb.Step) -> None:
        for joining in step.joining:
            sequence = self._batcher.running[joining.sequence_id]
            if (answer := self._answers.get(sequence)) is not None:
                answer.start()

    def _drop(self, answer: Answer) -> None:
        self._batcher.cancel(answer.sequence)
        self._has_work.set()
        self._seclusion.ring()

    def _abandon(self) -> None:
        self._batcher.clear()
        for answer in self._answers.values():
            answer.fail(IncompleteGeneration())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
