"""One HTTP call on a generation route: what it holds, when things happened, how it ended."""

import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from starlette.requests import Request

from inlay_proto import generate_pb2 as pb
from inlay_router.admission import ValidGenerateRequest
from inlay_router.errors import RouterError
from inlay_router.request import Finish
from inlay_router.service import Service

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

    def __post_init__(self) -> None:
        self.service.metrics.count.inc()

    @property
    def elapsed(self) -> float:
        """Seconds since receipt."""
        return time.perf_counter() - self.received

    def admit(self, valid: ValidGenerateRequest) -> None:
        """Its generations are in the queue."""
        metrics = self.service.metrics
        self.admitted = time.perf_counter()
        metrics.validation.observe(self.admitted - self.received)
        metrics.input_length.observe(len(valid.prompt.token_ids))
        metrics.max_new_tokens.observe(valid.generations[0].max_new_tokens)

    def produce(self) -> None:
        """Tokens came."""
        if not self.has_first_token:
            self.has_first_token = True
            self.service.metrics.first_token.observe(self.elapsed)

    def succeed(self, finish: Finish) -> None:
        """The answer is complete."""
        metrics = self.service.metrics
        self.is_settled = True
        metrics.success.inc()
        metrics.duration.observe(self.elapsed)
        metrics.queue.observe(finish.queue_seconds)
        metrics.inference.observe(finish.inference_seconds)
        metrics.time_per_token.observe(_per_token(finish))
        metrics.generated_tokens.observe(finish.num_generated_tokens)

    def fail(self, error: RouterError) -> None:
        """The client was told of `error`."""
        self._count_failure(_FAILURES.get(error.error_type, error.error_type))

    def end(self) -> None:
        """Nothing more will happen; without an outcome, the client left."""
        if not self.is_settled:
            self._count_failure("dropped")

    def _count_failure(self, label: str) -> None:
        self.is_settled = True
        self.service.metrics.failure.labels(label).inc()


def stream_headers(facts: pb.ModelFacts, valid: ValidGenerateRequest) -> dict[str, str]:
    """TGI's headers of a stream."""
    return {
        "x-compute-type": compute_type(facts),
        "x-compute-characters": str(len(valid.inputs)),
    }


def answer_headers(call: Call, valid: ValidGenerateRequest, finish: Finish) -> dict[str, str]:
    """TGI's headers of a complete answer; times in whole milliseconds but for the first."""
    assert call.admitted is not None
    elapsed = call.elapsed
    return {
        **stream_headers(call.service.facts, valid),
        "x-compute-time": f"{elapsed:.9f}",
        "x-total-time": _milliseconds(elapsed),
        "x-validation-time": _milliseconds(call.admitted - call.received),
        "x-queue-time": _milliseconds(finish.queue_seconds),
        "x-inference-time": _milliseconds(finish.inference_seconds),
        "x-time-per-token": _milliseconds(_per_token(finish)),
        "x-prompt-tokens": str(len(valid.prompt.token_ids)),
        "x-generated-tokens": str(finish.num_generated_tokens),
    }


def compute_type(facts: pb.ModelFacts) -> str:
    """What computes, such as `1-nvidia-a10g`; the environment may name it otherwise."""
    device = facts.device_name or facts.device
    words = f"{facts.num_shards}-{'-'.join(device.lower().split())}"
    return os.environ.get("COMPUTE_TYPE", words.encode("ascii", "replace").decode())


def _per_token(finish: Finish) -> float:
    return finish.inference_seconds / max(finish.num_generated_tokens, 1)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
