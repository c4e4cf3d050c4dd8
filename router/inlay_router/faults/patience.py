"""How long a replica may be silent; no clock, no I/O."""

_NUM_SLOWEST = 10
"""A step may take this many times as long as the slowest so far."""


class Patience:
    """Counts steps in flight and says when a result is overdue. Times are seconds of any clock."""

    def __init__(self, seconds: float) -> None:
        """`seconds` are granted to any step, and more where steps were seen to take longer."""
        self.seconds = seconds
        self._slowest = 0.0
        self._num_in_flight = 0
        self._waiting_since = 0.0

    def __repr__(self) -> str:
        return f"Patience({self.seconds} s, {self._num_in_flight} in flight)"

    def reset(self) -> None:
        """What is in flight will have no result."""
        self._num_in_flight = 0

    def sent(self, now: float) -> None:
        """A step is on its way."""
        if not self._num_in_flight:
            self._waiting_since = now
        self._num_in_flight += 1

    def answered(self, now: float) -> None:
        """The oldest result is back, and the shards begin with the next step."""
        self._slowest = max(self._slowest, now - self._waiting_since)
        self._waiting_since = now
        self._num_in_flight -= 1

    def is_over(self, now: float) -> bool:
        """Whether the oldest step takes longer than can be explained."""
        limit = max(self.seconds, _NUM_SLOWEST * self._slowest)
        return self._num_in_flight > 0 and now - self._waiting_since > limit
