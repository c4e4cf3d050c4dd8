"""Work that several want at the same time, done once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False)
class _Flight(Generic[Result]):
    task: asyncio.Task[Result]
    num_waiting: int = 0


class SingleFlight(Generic[Result]):
    """Work by key: whoever asks for it while it is under way waits for the same. For one loop."""

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[Result]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: bytes, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What `work` gives or raises. It is cancelled when nobody waits for it any more."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.num_waiting -= 1
            if not flight.num_waiting:
                self._end(key, flight)

    def _end(self, key: bytes, flight: _Flight[Result]) -> None:
        flight.task.cancel()
        if self._flights.get(key) is flight:
            del self._flights[key]
