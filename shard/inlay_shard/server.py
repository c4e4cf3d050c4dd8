"""The life of a shard's process: it listens, loads, serves, and leaves."""

import asyncio
import gc
import os
import signal
import traceback
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import torch
from transformers import AutoModelForImageTextToText

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import add_ShardServicer_to_server
from inlay_shard import architecture
from inlay_shard.config import ShardConfig
from inlay_shard.embedding import Eyes
from inlay_shard.encoder import Encoder, check_replicated
from inlay_shard.engine import Engine
from inlay_shard.errors import CONFIGURATION_ERROR, ModelRefused
from inlay_shard.features import FeatureCache, default_cache_bytes
from inlay_shard.image_workers import ImageWorkers
from inlay_shard.images import ImageDesk
from inlay_shard.lines import say
from inlay_shard.network import Network
from inlay_shard.parent import ParentWatch
from inlay_shard.service import Served, ShardService
from inlay_shard.startup import start
from inlay_shard.worker import StepThread

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
        self._features = FeatureCache()
        self._workers = workers
        self._watch = watch
        self._steps = StepThread(self._load, self._fail)
        self._images = ImageDesk(self._workers, self._features, config.model)
        self._service = ShardService(self._steps, self._images)

    async def run(self) -> int:
        """Serve until told to leave; the exit code."""
        server = grpc.aio.server(options=message_options())
        register: Any = add_ShardServicer_to_server
        register(self._service, server)
        listen(server, self._config.address)
        await server.start()
        try:
            self._watch_for_the_end()
            self._steps.start()
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

    def _load(self) -> Engine:
        """On the step thread, as everything below."""
        config = self._config
        torch.set_num_threads(num_threads(config))
        asked = self._ask_for_images()
        ready = start(config, self._features, lambda: self._takes_images(asked), self._say)
        eyes = self._open_eyes(ready.network) if ready.facts.takes_images else None
        calm_collector()
        self._loop.call_soon_threadsafe(self._serve, ready.facts, eyes)
        return ready.engine

    def _open_eyes(self, network: Network) -> Eyes:
        check_replicated(network)
        config = self._config
        max_bytes = config.image_cache_bytes or default_cache_bytes(network.device)
        self._features.max_bytes = max_bytes
        num_workers = self._workers.num_workers
        self._say(f"image cache of {max_bytes >> 20} MiB, image workers: {num_workers}")
        encoder = Encoder(
            network,
            num_threads=self._num_encoder_threads,
            max_batch_images=config.max_batch_images if config.num_shards == 1 else 1,
        )
        return Eyes(network=network, encoder=encoder)

    def _num_encoder_threads(self) -> int:
        """All while no step runs. Ranks must agree to the last bit, so theirs is a fixed number."""
        most = num_threads(self._config)
        is_alone = self._config.num_shards == 1 and self._steps.is_idle
        return most if is_alone else max(1, most // 2)

    def _ask_for_images(self) -> Future[bool] | None:
        """Let a worker load the processor, if it does not do so already."""
        if architecture.auto_class(architecture.read_config(self._config.model)) is not (
            AutoModelForImageTextToText
        ):
            return None
        return self._workers.ask_takes_images()

    def _takes_images(self, asked: Future[bool] | None) -> bool:
        if asked is None:
            return False
        self._say("loading the image processor")
        try:
            return asked.result()
        except Exception as error:
            self._say(f"serving text alone, as the image processor does not load: {error}")
            return False

    def _serve(self, facts: pb.ModelFacts, eyes: Eyes | None) -> None:
        self._service.serve(Served(facts, eyes))
        say(self._config, "ready")
        if eyes is not None:
            self._warming_up = asyncio.create_task(self._images.warm_up())

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


def num_threads(config: ShardConfig) -> int:
    """CPU threads that compute."""
    cores = len(os.sched_getaffinity(0))
    return config.num_threads or max(1, cores // config.num_shards)


def message_options() -> list[tuple[str, int]]:
    """Options of gRPC, for both ends."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]


def listen(server: grpc.aio.Server, address: str) -> None:
    """Bind to an address. A socket file is for this user alone, and replaces one left behind."""
    if not address.startswith("unix:"):
        server.add_insecure_port(address)
        return
    Path(address.removeprefix("unix:")).unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(address)
    finally:
        os.umask(before)


async def serve(config: ShardConfig, workers: ImageWorkers, watch: ParentWatch) -> int:
    """Run one shard; the exit code. Leaves, too, when the watch says that the parent is gone."""
    return await Process(config, workers, watch).run()
