"""What all handlers share: one model behind one router."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from inlay_grammars.pool import CompilePool
from inlay_proto import generate_pb2 as pb
from inlay_router.admission import Admission
from inlay_router.config import Limits, RouterConfig
from inlay_router.fetch import Fetcher, FetchLimits
from inlay_router.generation import Generation
from inlay_router.images import ImageLimits
from inlay_router.metrics import Metrics
from inlay_router.permits import Permits
from inlay_router.prompt import PromptReader

_NUM_THREADS = 2
"""Threads that decode images and tokenise long texts: few, so that they leave the steps a core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Lives from the moment that the model is known until the process ends."""

    config: RouterConfig
    limits: Limits
    generation: Generation
    admission: Admission
    permits: Permits
    metrics: Metrics

    @property
    def facts(self) -> pb.ModelFacts:
        """What the model says of itself."""
        return self.generation.facts


@asynccontextmanager
async def serving(
    config: RouterConfig, generation: Generation, grammars: CompilePool | None
) -> AsyncIterator[Service]:
    """The service of a `generation` that has started, and a pool that has.

    Raises ConfigError when the limits do not fit the model.
    """
    limits = Limits.of(config, generation.facts)
    image_limits = ImageLimits(max_bytes=config.max_image_bytes, max_pixels=config.max_image_pixels)
    fetch_limits = FetchLimits(
        image=image_limits,
        timeout=config.image_timeout,
        has_private_addresses=config.has_private_images,
    )
    metrics = Metrics(limits.max_total_tokens)
    metrics.watch(generation)
    async with AsyncExitStack() as resources:
        executor = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="prompt")
        resources.callback(executor.shutdown, wait=False, cancel_futures=True)
        prompts = PromptReader(
            generation=generation,
            fetcher=await resources.enter_async_context(Fetcher(fetch_limits)),
            executor=executor,
            limits=limits,
            image_limits=image_limits,
        )
        yield Service(
            config=config,
            limits=limits,
            generation=generation,
            admission=Admission(limits=limits, prompts=prompts, grammars=grammars),
            permits=Permits(config.max_concurrent_requests),
            metrics=metrics,
        )
