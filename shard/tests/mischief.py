"""What tests make a worker process do. In a module of its own, which a new process can import."""

import os
import signal
import time

import numpy as np

from inlay_shard.errors import PreparationRefused
from inlay_shard.preparation import Preparer


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
