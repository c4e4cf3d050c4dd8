"""The time that one thread spends on something, asked for by another while it goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Runs on one thread at a time; one other thread takes its laps."""

    def __init__(self) -> None:
        self._state: tuple[int, int | None] = (0, None)
        """Nanoseconds of what is over, and when what runs began: one object, so that whoever reads
        it sees both as they belong together."""
        self._num_told = 0

    def __repr__(self) -> str:
        return f"Stopwatch({self.nanoseconds} ns)"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, time is counted."""
        spent, begun = self._state[0], time.perf_counter_ns()
        self._state = (spent, begun)
        try:
            yield
        finally:
            self._state = (spent + time.perf_counter_ns() - begun, None)

    @property
    def nanoseconds(self) -> int:
        """All so far, what still runs included."""
        spent, begun = self._state
        return spent if begun is None else spent + time.perf_counter_ns() - begun

    def lap(self) -> int:
        """Nanoseconds since the last lap."""
        told, self._num_told = self._num_told, self.nanoseconds
        return self._num_told - told
