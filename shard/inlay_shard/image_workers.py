"""Worker processes that prepare images, kept so light here that they start before the shard.

What they run imports torch and transformers, which takes seconds; so does the shard, meanwhile.
"""

import asyncio
import gc
import multiprocessing
import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from inlay_shard.errors import PreparationRefused

if TYPE_CHECKING:
    from inlay_shard.preparation import Piece, Prepared, Preparer


class ImageWorkers:
    """A small pool of processes that a bad image may kill. They start when first asked."""

    def __init__(self, folder: Path, num_workers: int) -> None:
        """folder: the model whose processor they run."""
        self._folder = folder
        self._num_workers = num_workers
        self._pool: ProcessPoolExecutor | None = None

    def ask_takes_images(self) -> Future[bool]:
        """Whether the model's processor takes images; asking starts a worker."""
        return self._running_pool().submit(_takes_images)

    async def prepare(self, pieces: "Sequence[Piece]", add_special_tokens: bool) -> "Prepared":
        """Prepare a prompt. Raises PreparationRefused, also when it kills a worker twice."""
        for _ in range(2):
            pool = self._running_pool()
            try:
                return await asyncio.wrap_future(pool.submit(_prepare, pieces, add_special_tokens))
            except BrokenProcessPool:
                if self._pool is pool:
                    self._pool = None
        raise PreparationRefused("the model's processor died of the images")

    def stop(self) -> None:
        """End the processes; what they still do is lost."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)
        del pool
        gc.collect()  # the semaphores of the pool end with it

    def _running_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._num_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self._folder,),
            )
        return self._pool


_preparer: "Preparer | None" = None
"""In a worker process: what it was started for."""


def _start_worker(folder: Path) -> None:
    """First thing in a worker: load the processor, and see to it that it leaves with the shard."""
    global _preparer
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    warnings.simplefilter("ignore")

    from inlay_shard.preparation import load_preparer

    _preparer = load_preparer(folder)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _takes_images() -> bool:
    return _preparer is not None


def _prepare(pieces: "Sequence[Piece]", add_special_tokens: bool) -> "Prepared":
    if _preparer is None:
        raise PreparationRefused("this model takes no images")
    return _preparer.prepare(pieces, add_special_tokens)
