"""One process that prepares images: what it does, and how it is asked.

Kept so light that it starts before the shard imports torch; the process loads that by itself.
"""

import os
import resource
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.worker_answers import UnknownAnswer, read_answer
from inlay_shard.machine.shared_arrays import Layout, attach, share

if TYPE_CHECKING:
    from inlay_shard.images.preparers import AnyPreparer

NICENESS = 10
"""Added to that of the shard: steps come first where cores are few."""
MAX_EXTRA_BYTES = 4 << 30
"""Memory that a process may take beyond what it has when it is ready."""
START_SECONDS = 300.0
"""How long it may take to load the processor."""

_COMMAND = (sys.executable, "-c", "from inlay_shard.images.image_process import main; main()")
"""Not `multiprocessing`, whose processes begin with the program that started them: that may be a
script which loads a model as its first act."""

Job: TypeAlias = "Callable[[Any], Any]"
"""Done in the process; a function of a module, or a `partial` of one."""


class ProcessDied(Exception):
    """The process ended before it answered, or is not itself any more."""


class ProcessHung(Exception):
    """The process did not answer in time."""


@dataclass(frozen=True)
class Answer:
    """What a process made."""

    value: Any
    layouts: list[Layout]
    """Where the arrays of `value.inputs` lie in the shared memory that follows; empty: nothing
    follows."""


class ImageProcess:
    """A process that has loaded a model's processor. For one thread but for `kill`."""

    def __init__(self, folder: Path, plugins: tuple[str, ...] = ()) -> None:
        """Starts the process; `takes_images` waits until it is ready."""
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        with theirs:
            self._process = subprocess.Popen(
                [*_COMMAND, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # its end tells the process that we are gone
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for those who started us
            )
        self._takes_images: bool | None = None
        with suppress(OSError):  # who waits for it finds out
            self._connection.send((sys.path, folder, plugins))

    @property
    def process_id(self) -> int:
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
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._connection.close()

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                raise ProcessHung
            answer = read_answer(self._connection.recv_bytes())
            if isinstance(answer, Exception):
                raise answer
            if not answer.layouts:
                return answer.value
            inputs = attach(recv_handle(self._connection), answer.layouts)
        except (EOFError, OSError, UnknownAnswer) as error:
            raise ProcessDied from error
        return replace(answer.value, inputs=inputs)


def main() -> None:
    """The process, which talks through the descriptor that its last argument names."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    connection = Connection(int(sys.argv[-1]))
    sys.path, folder, plugins = connection.recv()
    _work(connection, folder, plugins)


def _work(connection: Connection, folder: Path, plugins: tuple[str, ...]) -> None:
    """The life of the process: load the processor, then do what it is asked."""
    os.nice(NICENESS)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    warnings.simplefilter("ignore")
    try:
        preparer = _load(folder, plugins)
    except Exception as error:
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))
        return
    _limit_memory()
    connection.send(Answer(preparer is not None, []))
    while preparer is not None:
        try:
            job = connection.recv()
        except EOFError:
            return
        _answer(connection, job, preparer)


def _load(folder: Path, plugins: tuple[str, ...]) -> "AnyPreparer | None":
    from inlay_shard.images.preparers import find_preparer

    return find_preparer(folder, plugins)


def _limit_memory() -> None:
    """From here on an image that needs too much is refused by the system."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    max_bytes = num_pages * resource.getpagesize() + MAX_EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


def _answer(connection: Connection, job: Job, preparer: "AnyPreparer") -> None:
    try:
        made = job(preparer)
    except Exception as error:
        connection.send(_refusal(error))
        return
    inputs: Mapping[str, Any] = getattr(made, "inputs", {})
    if not inputs:
        connection.send(Answer(made, []))
        return
    file, layouts = share(inputs)
    connection.send(Answer(replace(made, inputs={}), layouts))
    send_handle(connection, file, os.getppid())
    os.close(file)


def _refusal(error: Exception) -> PreparationRefused:
    if isinstance(error, PreparationRefused):
        return error
    # The operator may see what the client may not.
    print(f"image worker: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return PreparationRefused("the images cannot be prepared")


def _leave_with_parent() -> None:
    """Not through `sys.stdin`, whose lock this thread would still hold when the process ends."""
    while os.read(0, 4096):
        pass
    os._exit(0)
