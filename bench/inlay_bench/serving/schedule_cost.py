"""What the batcher pays for a step, against the number of streams in it."""

import time
from statistics import median

import msgspec

from inlay_bench.serving.scripted_shard import BLOCK_SIZE, Script
from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import GenerationRequest, Prompt

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NUM_STEPS = 400
NUM_PROMPT_TOKENS = 32
MICROSECOND = 1e-6


class SchedulePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One decode step."""

    num_streams: int
    microseconds: float
    """`next_step` and `settle` together: median of the steps."""


def measure_schedule() -> list[SchedulePoint]:
    """Every batch size, decode steps alone; in this process."""
    return [measure_batch(num_streams) for num_streams in BATCH_SIZES]


def measure_batch(num_streams: int) -> SchedulePoint:
    """One batch size."""
    batcher = make_batcher(num_streams)
    script = Script()
    costs: list[float] = []
    while len(costs) < NUM_STEPS:
        start = time.perf_counter()
        step = batcher.next_step()
        scheduled = time.perf_counter() - start
        assert step is not None
        result = script.run(step)
        start = time.perf_counter()
        batcher.settle(result)
        if len(batcher.running) == num_streams and not step.joining:
            costs.append(scheduled + time.perf_counter() - start)
    return SchedulePoint(num_streams=num_streams, microseconds=median(costs) / MICROSECOND)


def make_batcher(num_streams: int) -> Batcher:
    """A batcher with so many sequences in its queue."""
    num_tokens = NUM_PROMPT_TOKENS + 2 * NUM_STEPS
    num_blocks = (num_streams + 1) * (num_tokens // BLOCK_SIZE + 2)
    facts: pb.ModelFacts = scripted_facts(num_blocks=num_blocks, block_size=BLOCK_SIZE)
    limits = BatchLimits(max_batch_size=num_streams, max_waiting=num_streams)
    batcher = Batcher(limits, Replica.of(facts))
    for number in range(num_streams):
        token_ids = tuple((number + place) % 256 for place in range(NUM_PROMPT_TOKENS))
        request = GenerationRequest(
            prompt=Prompt(token_ids=token_ids), max_new_tokens=2 * NUM_STEPS
        )
        batcher.add(Sequence.of(request))
    return batcher
