"""How soon places become free, from how fast they did lately; no clock, no I/O."""

import math
from collections import deque

_NUM_NOTED = 64
RETRY_SECONDS_MAX = 60
"""Longest that a client is told to wait: by then much may have changed."""


class Turnover:
    """Ends of generations. Times are seconds of any clock that only grows."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_NUM_NOTED)

    def note(self, num_ends: int, now: float) -> None:
        """So many ended."""
        self._ends.extend([now] * min(num_ends, _NUM_NOTED))

    def seconds_until(self, num_ends: int, now: float) -> int:
        """Whole seconds, from 1 to 60, until so many more will have ended.

        Silence counts: while nothing ends, the answer grows.
        """
        if len(self._ends) < 2:
            return 1
        seconds = (now - self._ends[0]) * num_ends / len(self._ends)
        return max(1, min(math.ceil(seconds), RETRY_SECONDS_MAX))
