"""One process that prepares images: what it does, and how it is asked.

Kept so light that it starts before the shard imports torch; the process loads that by itself.
"""

import multiprocessing
import os
import resource
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from inlay_shard.errors import PreparationRefused
from inlay_shard.shared_arrays import Layout, attach, share

if TYPE_CHECKING:
    from inlay_shard.preparation import Preparer

NICENESS = 10
"""Added to that of the shard: steps come first where cores are few."""
MAX_EXTRA_BYTES = 4 << 30
"""Memory that a process may take beyond what it has when it is ready."""
START_SECONDS = 300.0
"""How long it may take to load the processor."""

Job: TypeAlias = "Callable[[Preparer], Any]"
"""Done in the process; a function of a module, or a `partial` of one."""


class ProcessDied(Exception):
    """The process ended before it answered."""


class ProcessHung(Exception):
    """The process did not answer in time."""


@dataclass(frozen=True)
class _Answer:
    """What a process made."""

    value: Any
    layouts: list[Layout]
    """Where the arrays of `value.inputs` lie in the shared memory that follows; empty: nothing
    follows."""


class ImageProcess:
    """A process that has loaded a model's processor. For one thread but for `kill`."""

    def __init__(self, folder: Path) -> None:
        """Starts the process; `takes_images` waits until it is ready."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, folder), daemon=True)
        self._process.start()
        theirs.close()
        self._takes_images: bool | None = None

    @property
    def process_id(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def takes_images(self) -> bool:
        """Whether the model's processor takes images. Raises ProcessDied, ProcessHung, and what
        loading raised."""
        if self._takes_images is None:
            self._takes_images = self._receive(START_SECONDS)
        return self._takes_images

    def ask(self, job: Job, seconds: float) -> Any:
        """What the job gives or raises, within so many seconds.

        Raises PreparationRefused when the model takes no images; ProcessDied; ProcessHung.
        """
        if not self.takes_images():
            raise PreparationRefused("this model takes no images")
        try:
            self._connection.send(job)
        except OSError as error:
            raise ProcessDied from error
        return self._receive(seconds)

    def kill(self) -> None:
        """End the process at once; for any thread."""
        self._process.kill()

    def close(self) -> None:
        """End the process and free what it held."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                raise ProcessHung
            answer = self._connection.recv()
            if isinstance(answer, Exception):
                raise answer
            if not answer.layouts:
                return answer.value
            inputs = attach(recv_handle(self._connection), answer.layouts)
        except (EOFError, OSError) as error:
            raise ProcessDied from error
        return replace(answer.value, inputs=inputs)


def _work(connection: Connection, folder: Path) -> None:
    """The life of the process: load the processor, then do what it is asked."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.nice(NICENESS)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    warnings.simplefilter("ignore")
    try:
        preparer = _load(folder)
    except Exception as error:
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))
        return
    _limit_memory()
    connection.send(_Answer(preparer is not None, []))
    while preparer is not None:
        try:
            job = connection.recv()
        except EOFError:
            return
        _answer(connection, job, preparer)


def _load(folder: Path) -> "Preparer | None":
    from inlay_shard.preparation import load_preparer

    return load_preparer(folder)


def _limit_memory() -> None:
    """From here on an image that needs too much is refused by the system."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    max_bytes = num_pages * resource.getpagesize() + MAX_EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


def _answer(connection: Connection, job: Job, preparer: "Preparer") -> None:
    try:
        made = job(preparer)
    except Exception as error:
        connection.send(_refusal(error))
        return
    inputs: Mapping[str, Any] = getattr(made, "inputs", {})
    if not inputs:
        connection.send(_Answer(made, []))
        return
    file, layouts = share(inputs)
    connection.send(_Answer(replace(made, inputs={}), layouts))
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    send_handle(connection, file, parent.pid)
    os.close(file)


def _refusal(error: Exception) -> PreparationRefused:
    if isinstance(error, PreparationRefused):
        return error
    return PreparationRefused(f"the images cannot be prepared: {type(error).__name__}: {error}")


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
