"""What takes time before a call joins the queue, kept where traces are collected."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb

_NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work for one call; parts of one call may overlap."""

    name: str
    begun: float
    """As `time.perf_counter` tells it."""
    seconds: float


_kept: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)


def keep_stages() -> list[Stage]:
    """The stages from here on, of this task and those that it starts; the list grows."""
    stages: list[Stage] = []
    _kept.set(stages)
    return stages


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Within, time is spent on `name`; an end by an exception is one too."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        _keep(name, begun, time.perf_counter() - begun)


def keep_preparation(begun: float, timings: pb.PrepareTimings) -> None:
    """What a shard did for a prompt, as if one thing came behind the other: each is the sum over
    the images of the prompt."""
    parts = (("queue", timings.queue), ("prepare", timings.prepare), ("encode", timings.encode))
    for name, nanoseconds in parts:
        seconds = nanoseconds / _NANOSECONDS
        if seconds:
            _keep(f"image_{name}", begun, seconds)
        begun += seconds


def _keep(name: str, begun: float, seconds: float) -> None:
    stages = _kept.get()
    if stages is not None:
        stages.append(Stage(name, begun, seconds))
