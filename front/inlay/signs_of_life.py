"""Whether a child still gives signs of life, through a pipe of which it has the writing end."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_NUM_BYTES = 4096


class SignsOfLife:
    """The launcher's end of the pipe. For one event loop."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        """The end that the child inherits; to be closed here once it has."""
        os.set_blocking(self._reading, False)
        self._heard = asyncio.Event()

    async def until_silent(self, seconds: float, *, first_seconds: float) -> None:
        """Return once so many seconds went by without a sign, or `first_seconds` before the first.
        The end of the child is a sign too."""
        with self._listening():
            limit = max(seconds, first_seconds)
            while await self._hears_within(limit):
                limit = seconds

    async def _hears_within(self, seconds: float) -> bool:
        self._heard.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        return self._heard.is_set()  # perhaps in the very last moment

    def close(self) -> None:
        """Listen no more; once more changes nothing."""
        if self._reading >= 0:
            os.close(self._reading)
        self._reading = -1

    @contextmanager
    def _listening(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._reading, self._hear)
        try:
            yield
        finally:
            loop.remove_reader(self._reading)

    def _hear(self) -> None:
        if not os.read(self._reading, _NUM_BYTES):
            asyncio.get_running_loop().remove_reader(self._reading)
        self._heard.set()
