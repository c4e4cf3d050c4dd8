"""At most so many generations in flight, and none of them for whom others would have to go without;
who comes too late is told when to try again."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inlay_router.doors.turnover import Turnover
from inlay_router.errors import Overloaded

_RESERVE_SHARE = 8
"""One part in so many is kept, beyond the permits, for clients that hold less than others."""


class Permits:
    """A count of permits that are given back when their context is left.

    One client alone may hold all of them. Once they are taken, a few more are there for clients
    that hold less than an equal share, so that one with a thousand requests shuts nobody out: as
    its own are given back, the others come up to their shares.
    """

    def __init__(self, num_permits: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.num_permits_max = num_permits + num_permits // _RESERVE_SHARE + 1
        """Permits with those for clients that hold little."""
        self._num_permits = num_permits
        self._num_taken: Counter[str] = Counter()
        self._clock = clock
        self._turnover = Turnover()

    def __repr__(self) -> str:
        return f"Permits({self.num_taken} of {self._num_permits} taken)"

    @property
    def num_taken(self) -> int:
        """By all."""
        return self._num_taken.total()

    @property
    def num_clients(self) -> int:
        """Who hold some."""
        return len(self._num_taken)

    @contextmanager
    def take(self, num_wanted: int = 1, client_id: str = "") -> Iterator[None]:
        """Hold permits while the context lasts. Raises Overloaded when there are not enough."""
        if num_wanted and not self._can_take(num_wanted, client_id):
            raise Overloaded
        self._num_taken[client_id] += num_wanted
        try:
            yield
        finally:
            self._give_back(num_wanted, client_id)

    @property
    def retry_seconds(self) -> int:
        """Until half of what is in flight will have ended, as far as can be foretold: whoever was
        refused and comes back then finds a place, and so do the others."""
        return self._turnover.seconds_until(self._num_permits // 2, self._clock())

    def _can_take(self, num_wanted: int, client_id: str) -> bool:
        num_then = self.num_taken + num_wanted
        if num_then <= self._num_permits:
            return True
        share = self._num_permits // len({*self._num_taken, client_id})
        own = self._num_taken[client_id] + num_wanted
        return num_then <= self.num_permits_max and own <= share

    def _give_back(self, num_permits: int, client_id: str) -> None:
        self._num_taken[client_id] -= num_permits
        if not self._num_taken[client_id]:
            del self._num_taken[client_id]
        if num_permits:
            self._turnover.note(num_permits, self._clock())
