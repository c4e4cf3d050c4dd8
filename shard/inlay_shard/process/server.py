"""The life of a shard's process: it listens, loads, serves, and leaves."""

import asyncio
import gc
import signal
import traceback
from typing import Any

import grpc

from inlay_proto.generate_pb2_grpc import add_ShardServicer_to_server
from inlay_shard.config import ShardConfig
from inlay_shard.errors import CONFIGURATION_ERROR, ModelRefused
from inlay_shard.images.image_workers import ImageWorkers
from inlay_shard.lines import say
from inlay_shard.process.listening import listen
from inlay_shard.process.parent import ParentWatch
from inlay_shard.process.service import ShardService
from inlay_shard.shard import Listener, Served, Shard

MAX_MESSAGE_BYTES = 256 << 20
"""A Prepare call carries images as their clients sent them."""
_COLLECTOR_THRESHOLDS = (50_000, 20, 20)
"""New objects before Python looks for cycles among them, and how often it looks further back."""
GRACE_SECONDS = 1.0
"""How long running calls may take when the shard leaves."""


class Process:
    """One shard's process."""

    def __init__(self, config: ShardConfig, workers: ImageWorkers, watch: ParentWatch) -> None:
        """To be made within a running event loop."""
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._leaving: asyncio.Future[int] = self._loop.create_future()
        self._watch = watch
        listener = Listener(on_ready=self._ready, on_failure=self._fail, report=self._say)
        self._shard = Shard(config, workers, listener)
        pipe_address = config.address if config.tls is None else ""
        self._service = ShardService(self._shard.steps, self._shard.images, pipe_address)

    async def run(self) -> int:
        """Serve until told to leave; the exit code."""
        server = grpc.aio.server(options=message_options())
        register: Any = add_ShardServicer_to_server
        register(self._service, server)
        listen(server, self._config)
        await server.start()
        try:
            self._watch_for_the_end()
            self._shard.start()
            return await self._leaving
        finally:
            await server.stop(GRACE_SECONDS)

    def _watch_for_the_end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._leave, 0)
        self._watch.hand_over(self._leave_from_outside)

    def _leave_from_outside(self) -> None:
        self._loop.call_soon_threadsafe(self._leave, 0)

    def _leave(self, exit_code: int) -> None:
        """End the process; the first code counts."""
        if not self._leaving.done():
            self._leaving.set_result(exit_code)

    def _ready(self, served: Served) -> None:
        """On the step thread, as `_say` and `_fail`."""
        calm_collector()
        self._loop.call_soon_threadsafe(self._serve, served)

    def _serve(self, served: Served) -> None:
        self._service.serve(served)
        say(self._config, "ready")
        if served.eyes is not None:
            self._warming_up = asyncio.create_task(self._shard.images.warm_up())

    def _say(self, words: str) -> None:
        self._service.status = words
        say(self._config, words)

    def _fail(self, failure: BaseException) -> None:
        if isinstance(failure, ModelRefused):
            words = f"cannot serve {self._config.model_id}: {failure}"
            say(self._config, words, level="ERROR")
            exit_code = CONFIGURATION_ERROR
        else:
            say(self._config, "".join(traceback.format_exception(failure)), level="ERROR")
            exit_code = 1
        self._loop.call_soon_threadsafe(self._leave, exit_code)


def calm_collector() -> None:
    """What was loaded stays: leave it out, and look for cycles in what is new less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def message_options() -> list[tuple[str, int]]:
    """Options of gRPC, for both ends."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]


async def serve(config: ShardConfig, workers: ImageWorkers, watch: ParentWatch) -> int:
    """Run one shard; the exit code. Leaves, too, when the watch says that the parent is gone."""
    return await Process(config, workers, watch).run()
