"""At most so many generations in flight; who comes too late is told to try again."""

from collections.abc import Iterator
from contextlib import contextmanager

from inlay_router.errors import Overloaded


class Permits:
    """A count of permits that are given back when their context is left."""

    def __init__(self, num_permits: int) -> None:
        self._num_permits = num_permits
        self._num_taken = 0

    def __repr__(self) -> str:
        return f"Permits({self._num_taken} of {self._num_permits} taken)"

    @contextmanager
    def take(self, num_wanted: int = 1) -> Iterator[None]:
        """Hold permits while the context lasts. Raises Overloaded when there are not enough."""
        if self._num_taken + num_wanted > self._num_permits:
            raise Overloaded
        self._num_taken += num_wanted
        try:
            yield
        finally:
            self._num_taken -= num_wanted
