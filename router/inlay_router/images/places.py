"""So many places for each who asks, that nobody takes those of others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """So many places for each name; a name that nobody asks for is forgotten."""

    def __init__(self, num_places: int) -> None:
        self._num_places = num_places
        self._places: dict[str, asyncio.Semaphore] = {}
        self._num_users: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"Places({dict(self._num_users)})"

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """Wait for a place of this name, and hold it."""
        await self.take(name)
        try:
            yield
        finally:
            self.give_back(name)

    async def take(self, name: str) -> None:
        """Wait for a place of this name, to be given back by whoever is done with it."""
        places = self._places.setdefault(name, asyncio.Semaphore(self._num_places))
        self._num_users[name] += 1
        try:
            await places.acquire()
        except BaseException:
            self._leave(name)
            raise

    def give_back(self, name: str) -> None:
        """One place that was taken."""
        self._places[name].release()
        self._leave(name)

    def _leave(self, name: str) -> None:
        self._num_users[name] -= 1
        if not self._num_users[name]:
            del self._num_users[name], self._places[name]
