"""The life of a shard's process: it listens, loads, serves, and leaves."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import grpc
import torch

from inlay_proto.generate_pb2_grpc import add_ShardServicer_to_server
from inlay_shard.config import ShardConfig
from inlay_shard.engine import Engine
from inlay_shard.errors import CONFIGURATION_ERROR, ModelRefused
from inlay_shard.features import FeatureCache
from inlay_shard.images import ImageDesk, ImageWorkers
from inlay_shard.service import Served, ShardService
from inlay_shard.startup import Ready, start
from inlay_shard.worker import StepThread

MAX_MESSAGE_BYTES = 256 << 20
"""A Prepare call carries images as their clients sent them."""
GRACE_SECONDS = 1.0
"""How long running calls may take when the shard leaves."""


class Process:
    """One shard's process."""

    def __init__(self, config: ShardConfig) -> None:
        self._config = config
        self._leaving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        features = FeatureCache(config.max_features_bytes)
        self._features = features
        self._workers = ImageWorkers(config.model, config.num_image_workers)
        self._ready: Ready | None = None
        self._takes_images: Future[bool] | None = None
        images = ImageDesk(self._workers, features, config.model)
        self._steps = StepThread(
            self._load, on_ready=self._calling(self._serve), on_failure=self._report_failure
        )
        self._service = ShardService(self._steps, images)

    async def run(self) -> int:
        """Serve until told to leave; the exit code."""
        server = grpc.aio.server(options=_message_options())
        add_ShardServicer_to_server(self._service, server)
        try:
            listen(server, self._config.address)
            await server.start()
            self._watch_for_the_end()
            self._steps.start()
            return await self._leaving
        finally:
            self._workers.stop()
            await server.stop(GRACE_SECONDS)

    def leave(self, exit_code: int) -> None:
        """End the process; the first code counts."""
        if not self._leaving.done():
            self._leaving.set_result(exit_code)

    def _load(self) -> Engine:
        """On the step thread."""
        _set_num_threads(self._config)
        self._takes_images = None
        self._ready = start(self._config, self._features, self._ask_images, self._say)
        return self._ready.engine
