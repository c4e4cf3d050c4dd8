"""One HTTP call on a generation route: what it holds, when things happened, how it ended."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from starlette.requests import Request

from inlay_proto import generate_pb2 as pb
from inlay_router.admission import ValidGenerateRequest
from inlay_router.bodies import Generated, generate_all
from inlay_router.doors.byte_budget import ByteShare
from inlay_router.doors.clients import client_id_of, current_client
from inlay_router.errors import RouterError, TookTooLong, ValidationError
from inlay_router.grammar_warnings import warning_headers
from inlay_router.request import Finish, GenerationRequest
from inlay_router.service import Service
from inlay_router.telemetry.spans import Trail
from inlay_router.telemetry.stages import Stage, keep_stages
from inlay_router.text.answer import Answer

_log = logging.getLogger(__name__)

_FAILURES = {"incomplete_generation": "incomplete"}
"""TGI's label of a failure where it is not the error type."""


@dataclass(kw_only=True, slots=True)
class Call:
    """Counts itself: as received when made, and once as success, failure or dropped."""

    service: Service
    request: Request
    resources: AsyncExitStack
    """Permits and sequences, held until the response has been sent."""
    received: float = field(default_factory=time.perf_counter)
    admitted: float | None = None
    """When its generations joined the queue."""
    has_first_token: bool = False
    is_settled: bool = False
    finishes: tuple[Finish, ...] = ()
    failure: str | None = None
    """Label of what went wrong."""
    max_time: float | None = None
    """Seconds from receipt to the last byte; None for as long as it takes."""
    stages: Sequence[Stage] = ()
    """What took time before the queue; kept for traces alone."""
    _bytes: ByteShare | None = None

    def __post_init__(self) -> None:
        if self.service.traces is not None:
            self.stages = keep_stages()
        current_client.set(self.client_id)
        self.service.metrics.count.inc()
        self.max_time = self.service.config.max_time

    @property
    def elapsed(self) -> float:
        """Seconds since receipt."""
        return time.perf_counter() - self.received

    @property
    def client_id(self) -> str:
        """Whose turns and permits it takes."""
        return client_id_of(self.request, has_keys=self.service.config.asks_for_key)

    def take_permits(self, num_generations: int = 1) -> None:
        """Hold permits until the response has been sent. Raises Overloaded."""
        permits = self.service.permits.take(num_generations, self.client_id)
        self.resources.enter_context(permits)

    def take_bytes(self, num_bytes: int) -> None:
        """Hold so much more memory until the response has been sent. Raises Overloaded."""
        if self._bytes is None:
            self._bytes = ByteShare(self.service.body_bytes)
            self.resources.callback(self._bytes.give_back)
        self._bytes.take(num_bytes)

    def limit_time(self, max_time: float | None) -> None:
        """What the client asks for, where it is less than the server grants to all.

        Raises ValidationError.
        """
        if max_time is None:
            return
        if max_time <= 0:
            raise ValidationError(f"`max_time` must be > 0. Given: {max_time:g}")
        self.max_time = min(max_time, self.max_time or max_time)

    @property
    def deadline(self) -> float | None:
        """On the loop's clock."""
        if self.max_time is None:
            return None
        return asyncio.get_running_loop().time() + self.max_time - self.elapsed

    def too_late(self) -> TookTooLong:
        """What to say once the deadline has passed."""
        return TookTooLong(self.max_time or 0.0)

    async def stream(self, request: GenerationRequest) -> Answer:
        """An answer that grows until the response has been sent, or the deadline has passed."""
        stream = self.service.generation.stream(request, self.client_id)
        answer = await self.resources.enter_async_context(stream)
        if (deadline := self.deadline) is not None:
            loop = asyncio.get_running_loop()
            expiry = loop.call_at(deadline, answer.fail, self.too_late())
            self.resources.callback(expiry.cancel)
        return answer

    async def generate(self, request: ValidGenerateRequest) -> list[Generated]:
        """All of its generations, complete. Raises the first error of any."""
        return await generate_all(self.service.generation, request, self.client_id)

    def admit(self, *requests: ValidGenerateRequest) -> None:
        """Their generations are in the queue."""
        metrics = self.service.metrics
        self.admitted = time.perf_counter()
        metrics.validation.observe(self.admitted - self.received)
        for request in requests:
            metrics.input_length.observe(len(request.prompt.token_ids))
            metrics.max_new_tokens.observe(request.generations[0].max_new_tokens)

    def produce(self) -> None:
        """Tokens came."""
        if not self.has_first_token:
            self.has_first_token = True
            self.service.metrics.first_token.observe(self.elapsed)

    def succeed(self, *finishes: Finish) -> None:
        """Every answer is complete."""
        metrics = self.service.metrics
        self.is_settled = True
        self.finishes = finishes
        metrics.success.inc()
        metrics.duration.observe(self.elapsed)
        for finish in finishes:
            metrics.queue.observe(finish.queue_seconds)
            metrics.inference.observe(finish.inference_seconds)
            metrics.time_per_token.observe(_per_token([finish]))
            metrics.generated_tokens.observe(finish.num_generated_tokens)
            metrics.skipped_tokens.observe(0)  # each step gives one token

    def fail(self, error: RouterError) -> None:
        """The client was told of `error`."""
        self._count_failure(_FAILURES.get(error.error_type, error.error_type))

    def fail_by(self, error: Exception) -> RouterError:
        """The same for whatever ended a stream. What to tell its client: nothing of what nobody
        expected, which is logged."""
        told = error if isinstance(error, RouterError) else RouterError("Internal server error")
        if told is not error:
            _log.error("a stream failed", exc_info=error)
        self.fail(told)
        return told

    def end(self) -> None:
        """Nothing more will happen; without an outcome, the client left."""
        if not self.is_settled:
            self._count_failure("dropped")
        if self.service.traces is not None:
            self.service.traces.record(self._trail())

    def _count_failure(self, label: str) -> None:
        self.is_settled = True
        self.failure = label
        self.service.metrics.failure.labels(label).inc()

    def _trail(self) -> Trail:
        now = time.time_ns()
        admitted = self.admitted
        return Trail(
            name=self.request.url.path.strip("/") or "compat_generate",
            traceparent=self.request.headers.get("traceparent", ""),
            start=now - round(self.elapsed * 1e9),
            end=now,
            validation_seconds=None if admitted is None else admitted - self.received,
            stages=self.stages,
            received=self.received,
            finishes=self.finishes,
            failure=self.failure,
        )


def stream_headers(facts: pb.ModelFacts, *requests: ValidGenerateRequest) -> dict[str, str]:
    """TGI's headers of a stream that answers all of `requests`, and what is not enforced of their
    grammar, which is the same for all."""
    return {
        **warning_headers(requests[0].grammar_warnings),
        "x-compute-type": compute_type(facts),
        "x-compute-characters": str(sum(len(request.inputs) for request in requests)),
    }


def answer_headers(call: Call, request: ValidGenerateRequest, *finishes: Finish) -> dict[str, str]:
    """TGI's headers of a complete answer."""
    return answers_headers(call, [request], finishes)


def answers_headers(
    call: Call, requests: Sequence[ValidGenerateRequest], finishes: Sequence[Finish]
) -> dict[str, str]:
    """The same for several prompts, whose generations ran side by side: the sums of their tokens
    and the longest of their times. Times are whole milliseconds but for the first."""
    assert call.admitted is not None
    elapsed = call.elapsed
    is_shortened = any(finish.is_shortened for finish in finishes)
    return {
        **stream_headers(call.service.facts, *requests),
        **({"x-grammar-shortened": "true"} if is_shortened else {}),
        "x-compute-time": f"{elapsed:.9f}",
        "x-total-time": _milliseconds(elapsed),
        "x-validation-time": _milliseconds(call.admitted - call.received),
        "x-queue-time": _milliseconds(max(finish.queue_seconds for finish in finishes)),
        "x-inference-time": _milliseconds(max(finish.inference_seconds for finish in finishes)),
        "x-time-per-token": _milliseconds(_per_token(finishes)),
        "x-prompt-tokens": str(sum(len(request.prompt.token_ids) for request in requests)),
        "x-generated-tokens": str(sum(finish.num_generated_tokens for finish in finishes)),
    }


def compute_type(facts: pb.ModelFacts) -> str:
    """What computes, such as `1-nvidia-a10g`; the environment may name it otherwise."""
    device = facts.device_name or facts.device
    words = f"{facts.num_shards}-{'-'.join(device.lower().split())}"
    return os.environ.get("COMPUTE_TYPE", words.encode("ascii", "replace").decode())


def _per_token(finishes: Sequence[Finish]) -> float:
    seconds = sum(finish.inference_seconds for finish in finishes)
    return seconds / max(sum(finish.num_generated_tokens for finish in finishes), 1)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
