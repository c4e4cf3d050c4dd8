"""Where the replica of an engine runs: in this process, or in processes that are watched here."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlay import serve
from inlay.backoff import RestartPolicy
from inlay.launcher import Group
from inlay.model_folder import ModelFolder
from inlay.offline.engine_options import EngineOptions
from inlay_proto.grpc_settings import GRPC_SETTINGS
from inlay_router.config import RouterConfig
from inlay_router.links.link import Link
from inlay_shard.config import ShardConfig
from inlay_shard.images.image_workers import seems_to_see, workers_for
from inlay_shard.process.openmp_settings import OPENMP_SETTINGS

if TYPE_CHECKING:
    from inlay.offline.embedded_link import EmbeddedLink

_log = logging.getLogger("inlay.offline")

_GRACE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A replica, and who knows when it is over."""

    link: Link
    config: RouterConfig
    """Of the router in front of it."""
    failure: asyncio.Future[BaseException]
    """Why it cannot go on; not done as long as it can."""


@asynccontextmanager
async def hosted(options: EngineOptions, model: ModelFolder) -> AsyncIterator[Hosted]:
    """A replica as the options say. Its link is closed by whoever uses it."""
    if options.runs_here:
        link = _embedded(options.shard_config(model))
        yield Hosted(link=link, config=options.router_config(), failure=link.failure)
        return
    async with _processes(options, model) as found:
        yield found


def _embedded(config: ShardConfig) -> "EmbeddedLink":
    """A worker loads its processor while this process imports torch; each takes seconds."""
    workers = workers_for(config)
    if seems_to_see(config.model):
        workers.ask_takes_images()
    for name, value in OPENMP_SETTINGS.items():  # the program may have imported torch before
        os.environ.setdefault(name, value)
    from inlay.offline.embedded_link import EmbeddedLink

    return EmbeddedLink(config, workers, _report)


@asynccontextmanager
async def _processes(options: EngineOptions, model: ModelFolder) -> AsyncIterator[Hosted]:
    """Shards as the launcher runs them: one that dies is started again."""
    for name, value in GRPC_SETTINGS.items():
        os.environ.setdefault(name, value)
    from inlay_router.links.remote import RemoteLink

    with tempfile.TemporaryDirectory(prefix="inlay-") as folder:
        addresses = tuple(f"unix:{folder}/shard-{rank}.sock" for rank in range(options.num_shards))
        commands = serve.shard_commands(options.command_line(), model, addresses)
        group = Group(commands, RestartPolicy())
        failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        keeping = asyncio.create_task(group.keep_running())
        keeping.add_done_callback(lambda task: _tell(task, failure))
        try:
            yield Hosted(
                link=RemoteLink(addresses),
                config=options.router_config(addresses),
                failure=failure,
            )
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await group.stop(_GRACE_SECONDS)


def _tell(task: asyncio.Task[None], failure: asyncio.Future[BaseException]) -> None:
    if not task.cancelled() and (reason := task.exception()) is not None:
        failure.set_result(reason)


def _report(words: str) -> None:
    _log.debug("%s", words)
