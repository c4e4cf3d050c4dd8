"""Keeps apart what may kill the replica from what would be blamed for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Seclusion:
    """Who may be on the replica at a time.

    Preparations run beside each other and beside steps. A suspected preparation runs with nothing
    beside it, and while sequences are suspected, whose steps are lonely, no preparation runs: so
    whoever is there when the replica dies is the culprit.
    """

    def __init__(
        self,
        *,
        num_steps: Callable[[], int],
        has_suspects: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        """num_steps: in flight. has_suspects: among sequences. on_change: called when
        `admits_steps` may have become true."""
        self._num_steps = num_steps
        self._has_suspects = has_suspects
        self._on_change = on_change
        self._num_preparations = 0
        self._is_taken = False  # by a suspected preparation, which waits until it is alone
        self._is_closed = False
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"Seclusion({self._num_preparations} preparations, {self._is_taken})"

    @property
    def admits_steps(self) -> bool:
        """Whether the next step may be sent."""
        return not (self._is_taken or (self._num_preparations and self._has_suspects()))

    def ring(self) -> None:
        """To be called when steps came back, or suspects are none any more."""
        self._news.set()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._is_closed = True
        self.ring()

    @asynccontextmanager
    async def beside_others(self) -> AsyncIterator[None]:
        """Around one preparation that is not suspected."""
        await self._until(lambda: not self._is_taken and not self._has_suspects())
        self._num_preparations += 1
        try:
            yield
        finally:
            self._num_preparations -= 1
            self._change()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Around one that is."""
        await self._until(lambda: not self._is_taken)
        self._is_taken = True
        try:
            await self._until(lambda: not self._num_preparations and not self._num_steps())
            yield
        finally:
            self._is_taken = False
            self._change()

    def _change(self) -> None:
        self.ring()
        self._on_change()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not (holds() or self._is_closed):
            self._news.clear()
            await self._news.wait()
