"""Memory that the bodies of all calls may take together."""

from inlay_router.errors import Overloaded


class ByteBudget:
    """Bytes that calls take as they read, and give back when they are over."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        """For all calls together."""
        self.num_taken = 0

    def __repr__(self) -> str:
        return f"ByteBudget({self.num_taken} of {self.num_bytes} taken)"


class ByteShare:
    """What one call has taken."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._num_taken = 0

    def take(self, num_bytes: int) -> None:
        """So many more. Raises Overloaded when they are not there."""
        if self._budget.num_taken + num_bytes > self._budget.num_bytes:
            raise Overloaded
        self._budget.num_taken += num_bytes
        self._num_taken += num_bytes

    def give_back(self) -> None:
        """All."""
        self._budget.num_taken -= self._num_taken
        self._num_taken = 0
