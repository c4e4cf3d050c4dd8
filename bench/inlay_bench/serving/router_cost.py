"""What the router's process pays for a token event, and how that grows with the answer."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import msgspec

from inlay_bench.serving.running_stream import open_stream
from inlay_bench.serving.scripted_server import RouterProcess, start_router

BLOCK_SIZE = 16
NUM_STREAMS = 64
NUM_TOKENS = 400
NUM_EDGE_TOKENS = 40
"""Left out at both ends of an answer, where streams open and close."""
TICK_SECONDS = 0.020
NUM_GROWTH_STREAMS = 2
MAX_TOKENS = 100_000
MARKS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
"""Answer lengths between which the cost is told."""


class EventCost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time of the router's process at 64 streams."""

    step_milliseconds: float
    """The scripted shard's pace; 0: as fast as it is asked."""
    microseconds: float
    """For one token event while all streams run."""
    microseconds_whole: float
    """The same with opening and closing the streams."""
    events_per_second: float


class GrowthPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of tokens between two lengths of the answer."""

    from_tokens: int
    to_tokens: int
    microseconds: float
    resident_bytes: int
    """Of the router, at `to_tokens`."""


async def measure_events(step_seconds: float, log: Path) -> EventCost:
    """64 streams that open together. Raises BenchFailed."""
    num_blocks = NUM_STREAMS * (NUM_TOKENS // BLOCK_SIZE + 4)
    async with start_router(num_blocks, step_seconds, log) as router:
        await run_streams(router, NUM_STREAMS, NUM_EDGE_TOKENS, (NUM_EDGE_TOKENS,))
        marks = (0, NUM_EDGE_TOKENS, NUM_TOKENS - NUM_EDGE_TOKENS, NUM_TOKENS)
        samples = await run_streams(router, NUM_STREAMS, NUM_TOKENS, marks)
    _opening, first, last, end = samples
    num_events = last.num_events - first.num_events
    return EventCost(
        step_milliseconds=1000 * step_seconds,
        microseconds=1e6 * (last.cpu - first.cpu) / num_events,
        microseconds_whole=1e6 * (end.cpu - _opening.cpu) / end.num_events,
        events_per_second=num_events / (last.time - first.time),
    )


async def measure_growth(num_tokens: int, log: Path) -> list[GrowthPoint]:
    """Two streams of `num_tokens` tokens as fast as they come. Raises BenchFailed."""
    num_blocks = NUM_GROWTH_STREAMS * (num_tokens // BLOCK_SIZE + 4)
    marks = [mark for mark in MARKS if mark <= num_tokens]
    async with start_router(num_blocks, 0.0, log) as router:
        await run_streams(router, NUM_GROWTH_STREAMS, MARKS[0], (MARKS[0],))
        samples = await run_streams(router, NUM_GROWTH_STREAMS, num_tokens, marks)
    return [
        GrowthPoint(
            from_tokens=before.num_events // NUM_GROWTH_STREAMS,
            to_tokens=after.num_events // NUM_GROWTH_STREAMS,
            microseconds=1e6 * (after.cpu - before.cpu) / (after.num_events - before.num_events),
            resident_bytes=after.resident_bytes,
        )
        for before, after in pairwise(samples)
    ]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The router at one moment."""

    time: float
    num_events: int
    """Received from all streams."""
    cpu: float
    resident_bytes: int


async def run_streams(
    router: RouterProcess, num_streams: int, num_tokens: int, marks: Sequence[int]
) -> list[Sample]:
    """Samples when every stream has so many events. Raises BenchFailed."""
    loop = asyncio.get_running_loop()
    samples = []
    async with AsyncExitStack() as stack:
        if marks[0] == 0:
            samples.append(sample(router, loop.time(), 0))
        opening = [
            open_stream(router.host, router.port, f"prompt {number}", num_tokens)
            for number in range(num_streams)
        ]
        streams = [await stack.enter_async_context(each) for each in opening]
        for mark in marks[len(samples) :]:
            for stream in streams:
                await stream.wait_for(mark)
            num_events = sum(stream.num_events for stream in streams)
            samples.append(sample(router, loop.time(), num_events))
    return samples


def sample(router: RouterProcess, now: float, num_events: int) -> Sample:
    """Now."""
    return Sample(
        time=now,
        num_events=num_events,
        cpu=router.cpu_seconds(),
        resident_bytes=router.resident_bytes(),
    )


def growth_exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of log cost over log size, by least squares: 0 is flat, 1 proportional."""
    xs = [math.log(size) for size, _cost in points]
    ys = [math.log(cost) for _size, cost in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return products / sum((x - mean_x) ** 2 for x in xs)
