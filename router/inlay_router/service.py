"""What all handlers share: one model behind one router."""

import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from inlay_grammars.pool import CompilePool
from inlay_proto import generate_pb2 as pb
from inlay_router.admission import Admission
from inlay_router.batching.generation import Generation
from inlay_router.chat.admission import ChatAdmission
from inlay_router.chat.contents import ContentRules
from inlay_router.chat.prompts import ChatPrompts
from inlay_router.chat.templates import ChatTemplates
from inlay_router.config import Limits, RouterConfig
from inlay_router.doors.byte_budget import ByteBudget
from inlay_router.doors.permits import Permits
from inlay_router.faults.departure import Departure
from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.inspection import ImageCheck, ImageLimits
from inlay_router.prompt import PromptReader
from inlay_router.telemetry.image_metrics import ImageMetrics
from inlay_router.telemetry.load_metrics import watch_load
from inlay_router.telemetry.metrics import Metrics
from inlay_router.telemetry.traces import Traces
from inlay_router.text.typed import tokens_for_text

_NUM_THREADS = 2
"""Threads that check images and tokenise long texts: few, so that they leave the steps a core."""
_NICENESS = 10
"""Added to that of the process for these threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Lives from the moment that the model is known until the process ends."""

    config: RouterConfig
    limits: Limits
    generation: Generation
    admission: Admission
    chats: ChatAdmission
    permits: Permits
    body_bytes: ByteBudget
    """Of the bodies of all calls."""
    metrics: Metrics
    traces: Traces | None
    """None when nobody collects them."""
    departure: Departure = field(default_factory=Departure)

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
    metrics = Metrics(limits.max_total_tokens)
    metrics.watch(generation)
    async with AsyncExitStack() as resources:
        prompts = await _prompts(config, generation, limits, metrics, resources)
        admission = Admission(
            limits=limits,
            prompts=prompts,
            grammars=grammars,
            grammar_seconds=metrics.grammar,
        )
        permits = Permits(config.max_concurrent_requests)
        body_bytes = ByteBudget(config.max_body_bytes)
        watch_load(metrics.registry, permits, body_bytes)
        yield Service(
            config=config,
            limits=limits,
            generation=generation,
            admission=admission,
            chats=_chats(config, generation, admission),
            permits=permits,
            body_bytes=body_bytes,
            metrics=metrics,
            traces=await _traces(config, resources),
        )


async def _prompts(
    config: RouterConfig,
    generation: Generation,
    limits: Limits,
    metrics: Metrics,
    resources: AsyncExitStack,
) -> PromptReader:
    executor = ThreadPoolExecutor(
        _NUM_THREADS, thread_name_prefix="prompt", initializer=_yield_to_steps
    )
    resources.callback(executor.shutdown, wait=False, cancel_futures=True)
    image_limits = ImageLimits(
        max_bytes=config.max_image_bytes,
        max_pixels=config.max_image_pixels,
        max_total_bytes=config.max_total_image_bytes,
        max_total_pixels=config.max_total_image_pixels,
    )
    fetcher = Fetcher(_fetch_limits(config, image_limits))
    return PromptReader(
        generation=generation,
        fetcher=await resources.enter_async_context(fetcher),
        executor=executor,
        limits=limits,
        image_check=ImageCheck(image_limits),
        image_metrics=ImageMetrics(metrics.registry),
        typed=tokens_for_text(
            generation.facts, generation.tokenizer, has_plain=config.has_plain_prompts
        ),
        local_images=config.allowed_local_images,
        has_image_embeds=config.has_image_embeds,
    )


def _fetch_limits(config: RouterConfig, image_limits: ImageLimits) -> FetchLimits:
    return FetchLimits(
        image=image_limits,
        timeout=config.image_timeout,
        allowed_hosts=tuple(host.lower() for host in config.allowed_image_hosts),
        allowed_networks=config.allowed_image_networks,
        has_private_addresses=config.has_private_images,
    )


def _chats(config: RouterConfig, generation: Generation, admission: Admission) -> ChatAdmission:
    rules = ContentRules(
        takes_images=admission.limits.takes_images,
        max_images=admission.limits.max_images,
        has_markdown=config.has_chat_markdown_images,
        has_local_images=config.allowed_local_images is not None,
        has_image_embeds=config.has_image_embeds,
    )
    return ChatAdmission(
        admission=admission,
        templates=ChatTemplates(generation.facts, generation.tokenizer),
        prompts=ChatPrompts(prompts=admission.prompts, rules=rules),
        tokenizer=generation.tokenizer,
    )


def _yield_to_steps() -> None:
    """First thing in a thread: whatever streams wait for comes first where cores are few."""
    own_id = threading.get_native_id()
    niceness = os.getpriority(os.PRIO_PROCESS, own_id) + _NICENESS
    os.setpriority(os.PRIO_PROCESS, own_id, niceness)


async def _traces(config: RouterConfig, resources: AsyncExitStack) -> Traces | None:
    if config.otlp_endpoint is None:
        return None
    traces = Traces(config.otlp_endpoint, config.otlp_service_name)
    return await resources.enter_async_context(traces)
