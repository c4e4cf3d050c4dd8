"""What a service stands on, started in order and given back: the generation and the grammars."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_grammars.process import ProcessEnded
from inlay_router.batching.batch_limits import MAX_FORCED_TOKENS, BatchLimits
from inlay_router.batching.generation import Generation
from inlay_router.config import RouterConfig
from inlay_router.doors.permits import Permits
from inlay_router.links.link import Link

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def generating(
    config: RouterConfig, link: Link, *, is_paced: bool = True
) -> AsyncIterator[Generation]:
    """A generation over `link`, from the moment that its model is loaded; see BatchLimits."""
    limits = BatchLimits(
        max_batch_prefill_tokens=config.max_batch_prefill_tokens,
        max_batch_size=config.max_batch_size,
        max_waiting=Permits(config.max_concurrent_requests).num_permits_max,
        max_waiting_tokens=config.max_queue_tokens,
        max_forced_tokens=MAX_FORCED_TOKENS if config.forces_tokens else 0,
        has_prefix_cache=config.has_prefix_cache,
        is_paced=is_paced,
    )
    generation = Generation(link, limits, step_timeout=config.step_timeout)
    try:
        await generation.start()
        yield generation
    finally:
        await generation.stop()


@asynccontextmanager
async def compiling(
    config: RouterConfig, generation: Generation, *, is_eager: bool = True
) -> AsyncIterator[CompilePool | None]:
    """The pool that tries grammars; None where no request may carry one.

    Its process, which takes two seconds to start, starts beside all else, or with the first
    grammar. A router that was started again is ready before.
    """
    if not config.has_grammars:
        yield None
        return
    facts = generation.facts
    pool = CompilePool(
        facts.tokenizer_json,
        facts.vocab_size,
        facts.eos_token_ids,
        limits=CompileLimits(seconds=config.grammar_timeout),
        backend=config.grammar_backend,
    )
    starting = asyncio.create_task(_start(pool)) if is_eager else None
    try:
        yield pool
    finally:
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await pool.stop()


async def _start(pool: CompilePool) -> None:
    try:
        await pool.start()
    except ProcessEnded:
        _logger.warning("the compile process did not start; the next grammar starts another")
