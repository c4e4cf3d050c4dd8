"""What the metrics page shows of the engine, read off at one moment."""

from inlay_router.batching.batcher import Batcher
from inlay_router.telemetry.stats import Stats


def snapshot(batcher: Batcher, *, num_reconnects: int) -> Stats:
    """The state of a batcher."""
    counters, pool = batcher.counters, batcher.pool
    return Stats(
        num_waiting=batcher.num_waiting + batcher.num_following,
        num_running=len(batcher.running),
        num_blocks=pool.num_blocks,
        num_blocks_used=pool.num_used,
        num_blocks_idle=pool.num_idle,
        num_steps=counters.num_steps,
        num_tokens=counters.num_tokens,
        num_forced_tokens=counters.num_forced_tokens,
        num_preemptions=counters.num_preemptions,
        num_prompt_tokens=counters.num_prompt_tokens,
        num_cached_tokens=counters.num_cached_tokens,
        num_reconnects=num_reconnects,
    )
