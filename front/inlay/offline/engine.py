"""The engine in a program: the router's machinery on a thread, and a replica behind it."""

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from inlay.launcher import GaveUp
from inlay.model_folder import ModelFolder, ModelNotFound, find_model
from inlay.offline.batch import run_batch
from inlay.offline.engine_options import EngineOptions
from inlay.offline.errors import EngineError
from inlay.offline.hosting import Hosted, hosted
from inlay.offline.life import Life
from inlay.offline.requests import Request
from inlay.offline.result import Result
from inlay.offline.streaming import Stream
from inlay_proto import generate_pb2 as pb
from inlay_router.assembly import compiling, generating
from inlay_router.config import ConfigError, Limits
from inlay_router.service import Service, serving
from inlay_router.telemetry.observer import Unobserved
from inlay_router.text.tokenizer import Tokenizer
from inlay_shard.errors import ModelRefused

_log = logging.getLogger("inlay.offline")

_NUM_AHEAD = 64
"""Requests that are read while others run."""

OnDone = Callable[[int, Result], None]
"""Told of each request that is answered, by its place; on the engine's thread."""


class OfflineEngine:
    """A model that answers in this program, as `inlay serve` answers over HTTP.

    For any number of threads, and within a running event loop too. It ends with `close`, with the
    context, when it is collected, or when the program ends.
    """

    def __init__(self, options: EngineOptions | None = None) -> None:
        """Returns when the model is loaded.

        Raises ValueError for options that cannot be, and EngineError when the model cannot be had
        or served.
        """
        self.options = options or EngineOptions()
        begun = time.monotonic()
        self.options.command_line()
        self.model = model = _find(self.options)
        _log.info("loading %s", model.model_id)
        self._life = Life(lambda options=self.options: _serving(options, model))  # type: ignore[misc]
        self._end = weakref.finalize(self, self._life.stop)
        self.service = _start(self._life, model)
        _log.info("%s answers after %.1f s", model.model_id, time.monotonic() - begun)

    def __repr__(self) -> str:
        state = "open" if self._end.alive else "closed"
        return f"OfflineEngine({self.facts.model_id}, {state})"

    @property
    def facts(self) -> pb.ModelFacts:
        """What the model says of itself."""
        return self.service.facts

    @property
    def limits(self) -> Limits:
        """What a request may ask for."""
        return self.service.limits

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's."""
        return self.service.generation.tokenizer

    def run(self, requests: Sequence[Request], on_done: OnDone | None = None) -> list[Result]:
        """Answer them all, in their order; as many as fit run at a time.

        The first that fails ends all of them: RequestRefused or RequestFailed, naming its place
        when there are several. Raises EngineError when the engine has stopped.
        """
        max_at_a_time = self.options.max_batch_size + _NUM_AHEAD
        return self._life.run(run_batch(self.service, requests, max_at_a_time, on_done))

    def stream(self, request: Request) -> Stream:
        """Its answer as it grows."""
        return Stream(self._life, self.service, request)

    def close(self) -> None:
        """End running requests, threads and processes, and let the model go."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _find(options: EngineOptions) -> ModelFolder:
    try:
        return find_model(options.model, options.revision)
    except ModelNotFound as error:
        raise EngineError(str(error)) from None


def _start(life: Life, model: ModelFolder) -> Service:
    try:
        return life.start()
    except (ModelRefused, ConfigError, GaveUp) as error:
        raise EngineError(f"cannot serve {model.model_id}: {error}") from error


@asynccontextmanager
async def _serving(options: EngineOptions, model: ModelFolder) -> AsyncIterator[Service]:
    """A service over a replica of its own, until the replica fails."""
    async with hosted(options, model) as replica, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_raise_failure(replica))
        try:
            async with AsyncExitStack() as stack:
                generation = await stack.enter_async_context(
                    generating(replica.config, replica.link, is_paced=False)
                )
                if options.chat_template is not None:
                    generation.facts.chat_template = options.chat_template
                    generation.facts.named_chat_templates.clear()
                grammars = await stack.enter_async_context(
                    compiling(replica.config, generation, is_eager=False)
                )
                service = await stack.enter_async_context(
                    serving(replica.config, generation, grammars)
                )
                generation.observer = Unobserved()  # nobody reads its metrics
                yield service
        finally:
            watching.cancel()


async def _raise_failure(replica: Hosted) -> None:
    raise await replica.failure
