"""Worker processes that prepare images, kept so light here that they start before the shard.

What they run imports torch and transformers, which takes seconds; so does the shard, meanwhile.
"""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay_shard.config import ShardConfig
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.image_process import ImageProcess, Job, ProcessDied, ProcessHung

if TYPE_CHECKING:
    from inlay_shard.images.preparation import Expansion, Prepared
    from inlay_shard.images.preparers import AnyPreparer
    from inlay_shard.images.recipe import Piece, Recipe

PATIENCE = 60.0
"""Seconds that a worker may take over the images of a prompt before it is killed."""
_MAX_TRIES = 2
"""A worker that died may have been killed for another's sake."""


def default_num_workers(num_shards: int = 1) -> int:
    """A quarter of the cores that a rank has, at least 1 and at most 8."""
    return min(8, max(1, len(os.sched_getaffinity(0)) // (4 * num_shards)))


def seems_to_see(folder: Path) -> bool:
    """Whether a model is likely to take images; it will be known once it is loaded."""
    path = folder / "config.json"
    return path.is_file() and '"vision_config"' in path.read_text(encoding="utf-8")


class ImageWorkers:
    """A small pool of processes that a bad image may kill. Each starts when there is work for it;
    a thread of this process waits for it."""

    def __init__(
        self,
        folder: Path,
        num_workers: int,
        *,
        plugins: Sequence[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        """folder: the model whose processor they run. plugins: code that they load first.
        patience: seconds for one prompt."""
        self.num_workers = num_workers
        self._folder = folder
        self._plugins = tuple(plugins)
        self._patience = patience
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="image-worker")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._processes: set[ImageProcess] = set()
        self._is_stopped = False

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that run."""
        with self._lock:
            return [process.process_id for process in self._processes]

    def ask_takes_images(self) -> Future[bool]:
        """Whether the model's processor takes images; asking starts a worker.

        Its result raises what loading the processor raised, ProcessDied when workers die of it,
        and ProcessHung.
        """
        return self._threads.submit(self._takes_images)

    async def recipe(self) -> "Recipe":
        """How prompts with images are written for the model, and whether they may be spliced."""
        found: tuple[Recipe, float] = await self._ask(_recipe)
        return found[0]

    async def expand(self, image: bytes) -> "tuple[Expansion, float]":
        """An image as it stands in any prompt, and the seconds that a worker spent on it.

        Raises PreparationRefused, also when it kills a worker twice or takes too long.
        """
        made: tuple[Expansion, float] = await self._ask(partial(_expand, image))
        return made

    async def prepare(
        self, pieces: "Sequence[Piece]", add_special_tokens: bool
    ) -> "tuple[Prepared, float]":
        """A whole prompt, and the seconds that a worker spent on it. Raises as `expand` does."""
        job = partial(_prepare, pieces, add_special_tokens)
        made: tuple[Prepared, float] = await self._ask(job)
        return made

    def stop(self) -> None:
        """End the processes; what they still do is lost."""
        with self._lock:
            self._is_stopped = True
            for process in self._processes:
                process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.close()
        self._processes.clear()

    async def _ask(self, job: Job) -> Any:
        return await asyncio.wrap_future(self._threads.submit(self._do, job))

    def _do(self, job: Job) -> tuple[Any, float]:
        """On one of the threads, as everything below."""
        for _ in range(_MAX_TRIES):
            process = self._process()
            try:
                process.takes_images()
                start = time.perf_counter()
                made = process.ask(job, self._patience)
                return made, time.perf_counter() - start
            except ProcessDied:
                self._bury(process)
            except ProcessHung:
                self._bury(process)
                raise PreparationRefused(
                    f"the images took longer than {self._patience:g} seconds to prepare"
                ) from None
        raise PreparationRefused("the model's processor died of the images")

    def _takes_images(self) -> bool:
        for _ in range(_MAX_TRIES - 1):
            process = self._process()
            try:
                return process.takes_images()
            except ProcessDied:  # perhaps it was killed, for which the model is not to blame
                self._bury(process)
        return self._process().takes_images()

    def _process(self) -> ImageProcess:
        """The process of this thread."""
        process: ImageProcess | None = getattr(self._own, "process", None)
        if process is None:
            with self._lock:
                if self._is_stopped:
                    raise PreparationRefused("the shard is leaving")
                process = self._own.process = ImageProcess(self._folder, self._plugins)
                self._processes.add(process)
        return process

    def _bury(self, process: ImageProcess) -> None:
        self._own.process = None
        with self._lock:
            self._processes.discard(process)
        process.close()


def workers_for(config: ShardConfig) -> ImageWorkers:
    """As many as the operator wants; none of them runs yet."""
    num_workers = config.num_image_workers or default_num_workers(config.num_shards)
    return ImageWorkers(config.model, num_workers, plugins=config.plugins)


def _recipe(preparer: "AnyPreparer") -> "Recipe":
    from inlay_shard.images.splice_proof import prove

    return prove(preparer)


def _expand(image: bytes, preparer: "AnyPreparer") -> "Expansion":
    return preparer.expand(image)


def _prepare(
    pieces: "Sequence[Piece]", add_special_tokens: bool, preparer: "AnyPreparer"
) -> "Prepared":
    return preparer.prepare(pieces, add_special_tokens)
