"""A call as spans of OpenTelemetry, in the JSON of OTLP: the call itself, and its stages."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from inlay_router.request import Finish
from inlay_router.telemetry.stages import Stage

Nanoseconds: TypeAlias = int

_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}.*")
_SERVER, _INTERNAL = 2, 1
_OK, _ERROR = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """What a call leaves behind."""

    name: str
    """Of the route, such as `generate_stream`."""
    traceparent: str
    """The client's header of W3C Trace Context; empty without one."""
    start: Nanoseconds
    """Since 1970."""
    end: Nanoseconds
    validation_seconds: float | None
    """From receipt to the queue; None when it never came there."""
    stages: Sequence[Stage] = ()
    """What took time in it before the queue."""
    received: float
    """The start, as `time.perf_counter` tells it."""
    finishes: Sequence[Finish]
    failure: str | None
    """Why it failed; None when it did not."""


def spans_of(trail: Trail) -> Iterator[dict[str, Any]]:
    """The call, and below it `validation`, what took time in that (`image_fetch`, `image_check`,
    `image_queue`, `image_prepare`, `image_encode`, `grammar_check`), then `queue` and `inference`
    of each generation."""
    parent = _PARENT.fullmatch(trail.traceparent)
    trace_id = parent[1] if parent else secrets.token_hex(16)
    span_id = secrets.token_hex(8)
    numbers = {"generated_tokens": sum(one.num_generated_tokens for one in trail.finishes)}
    call = _span(trace_id, trail.name, trail.start, trail.end, numbers)
    call |= {"spanId": span_id, "kind": _SERVER, "parentSpanId": parent[2] if parent else ""}
    if trail.failure is not None:
        call["status"] = {"code": _ERROR, "message": trail.failure}
    yield call
    for name, start, end in _stages(trail):
        yield _span(trace_id, name, start, end, {}) | {"parentSpanId": span_id}


def _stages(trail: Trail) -> Iterator[tuple[str, Nanoseconds, Nanoseconds]]:
    for one in trail.stages:
        begun = trail.start + _nanoseconds(one.begun - trail.received)
        yield one.name, begun, begun + _nanoseconds(one.seconds)
    if trail.validation_seconds is None:
        return
    queued = trail.start + _nanoseconds(trail.validation_seconds)
    yield "validation", trail.start, queued
    for finish in trail.finishes:
        begun = queued + _nanoseconds(finish.queue_seconds)
        yield "queue", queued, begun
        yield "inference", begun, begun + _nanoseconds(finish.inference_seconds)


def _span(
    trace_id: str, name: str, start: Nanoseconds, end: Nanoseconds, numbers: dict[str, int]
) -> dict[str, Any]:
    return {
        "traceId": trace_id,
        "spanId": secrets.token_hex(8),
        "name": name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": [
            {"key": key, "value": {"intValue": str(number)}} for key, number in numbers.items()
        ],
        "status": {"code": _OK},
    }


def _nanoseconds(seconds: float) -> Nanoseconds:
    return round(seconds * 1e9)
