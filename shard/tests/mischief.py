"""What tests make a worker process do. In a module of its own, which a new process can import."""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.preparation import Preparer


def kill_self(preparer: Preparer) -> None:
    """Die at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang(preparer: Preparer) -> None:
    """Never answer."""
    time.sleep(1000)


def stumble(preparer: Preparer) -> None:
    """Raise what nobody expects."""
    raise ZeroDivisionError("by zero")


def take_memory(num_bytes: int, preparer: Preparer) -> int:
    """Take so much memory, or refuse."""
    try:
        return len(np.zeros(num_bytes, np.uint8))
    except MemoryError as error:
        raise PreparationRefused("too much") from error


def limit_memory(num_bytes: int, preparer: Preparer) -> None:
    """From here on no more than so much beyond what there is."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = num_pages * resource.getpagesize() + num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
