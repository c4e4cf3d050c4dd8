"""Whether the replica is there, and waiting for it to come or go."""

import asyncio
from contextlib import suppress

from inlay_router.errors import IncompleteGeneration

NOTICE_SECONDS = 0.5
"""Between the failure of a call and that of the stream of steps, when both have one cause."""


class Presence:
    """Comes and goes, until it is over for good."""

    def __init__(self) -> None:
        self.is_over = False
        """Whether the replica will never be there again."""
        self._here = asyncio.Event()
        self._away = asyncio.Event()

    def __repr__(self) -> str:
        return f"Presence({'here' if self.is_here else 'over' if self.is_over else 'away'})"

    @property
    def is_here(self) -> bool:
        """Whether the replica is connected now."""
        return self._here.is_set() and not self.is_over

    def come(self) -> None:
        """It is connected."""
        self._away.clear()
        self._here.set()

    def go(self) -> None:
        """It is lost."""
        self._here.clear()
        self._away.set()

    def end(self) -> None:
        """For good: whoever waits sees it."""
        self.is_over = True
        self._here.set()
        self._away.set()

    async def until_here(self) -> None:
        """Return once it is there. Raises IncompleteGeneration when it never will be."""
        await self._here.wait()
        if self.is_over:
            raise IncompleteGeneration

    async def until_noticed(self) -> None:
        """After a call that was lost: return once the loss of the replica is known, or soon after
        when it was not lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                await self._away.wait()
