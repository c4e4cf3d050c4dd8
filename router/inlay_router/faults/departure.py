"""How the server leaves: calls that run may end, new ones are refused."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from inlay_router.errors import Leaving


class Departure:
    """Counts the calls that run, and lets no more begin once the server is leaving."""

    def __init__(self) -> None:
        self.has_begun = False
        """Whether the server takes no more calls."""
        self._num_calls = 0
        self._is_over = asyncio.Event()

    def __repr__(self) -> str:
        return f"Departure({'leaving' if self.has_begun else 'here'}, {self._num_calls} calls)"

    def begin(self) -> None:
        """Refuse calls from now on."""
        self.has_begun = True
        self._note_end()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call, until its last byte is sent. Raises Leaving."""
        if self.has_begun:
            raise Leaving
        self._num_calls += 1
        try:
            yield
        finally:
            self._num_calls -= 1
            self._note_end()

    async def complete(self) -> None:
        """Return once the departure has begun and no call runs."""
        await self._is_over.wait()

    def _note_end(self) -> None:
        if self.has_begun and not self._num_calls:
            self._is_over.set()
