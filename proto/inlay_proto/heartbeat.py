"""How a process tells the one that started it that it lives: a byte a second through a pipe."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

VARIABLE = "INLAY_HEARTBEAT_FD"
"""Environment variable with the number of the pipe's writing end."""
SECONDS = 1.0


def beat_on_thread() -> None:
    """Give signs of life from now on while the interpreter runs, if somebody wants them.

    For a process that is long busy before it has a loop.
    """
    if (descriptor := _descriptor()) is not None:
        threading.Thread(target=_beat, args=(descriptor,), name="heart", daemon=True).start()


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Give signs of life while the loop goes round, if somebody wants them."""
    if (descriptor := _descriptor()) is None:
        yield
        return
    task = asyncio.create_task(_beat_on_loop(descriptor))
    try:
        yield
    finally:
        task.cancel()


def _descriptor() -> int | None:
    if (number := os.environ.get(VARIABLE)) is None:
        return None
    os.set_blocking(int(number), False)
    return int(number)


def _beat(descriptor: int) -> None:
    while True:
        _beat_once(descriptor)
        time.sleep(SECONDS)


async def _beat_on_loop(descriptor: int) -> None:
    while True:
        _beat_once(descriptor)
        await asyncio.sleep(SECONDS)


def _beat_once(descriptor: int) -> None:
    with suppress(BlockingIOError, BrokenPipeError):  # nobody reads; this process goes on
        os.write(descriptor, b".")
