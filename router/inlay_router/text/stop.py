"""Finds the first stop sequence of an answer, inside a token or across tokens."""

from collections.abc import Sequence


class StopMatcher:
    """Watches one answer; the earliest *end* of a stop sequence counts, as a reader meets it."""

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are not empty strings."""
        self._stops = tuple(stops)
        self._num_kept = max(map(len, stops), default=1) - 1
        self._tail = ""

    def feed(self, text: str) -> int | None:
        """How much of `text`, in characters, belongs to the answer if it stops here, else None.

        The answer ends right behind the stop sequence, which belongs to it.
        """
        if not self._stops or not text:
            return None
        window = self._tail + text
        ends = [at + len(stop) for stop in self._stops if (at := window.find(stop)) >= 0]
        if ends:
            return min(ends) - len(self._tail)
        self._tail = window[-self._num_kept :] if self._num_kept else ""
        return None
