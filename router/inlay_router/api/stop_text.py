"""Keeps the stop sequence out of an answer, as OpenAI defines it, also while it streams."""

from collections.abc import Sequence


class StopTrimmer:
    """Passes the text of one answer on, but for what may be the beginning of a stop sequence."""

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are not empty strings."""
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, text: str) -> str:
        """What may be shown of the text so far and was not yet."""
        if not self._stops:
            return text
        text = self._held + text
        num_held = max(_num_begun(text, stop) for stop in self._stops)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def end(self, *, is_stopped: bool) -> str:
        """The rest; of an answer that ended at a stop sequence, the rest before it."""
        if not is_stopped:
            return self._held
        # The answer ends right behind a stop sequence; of several that end here the longest counts.
        ends = (len(stop) for stop in self._stops if self._held.endswith(stop))
        return self._held[: len(self._held) - max(ends, default=0)]


def _num_begun(text: str, stop: str) -> int:
    """Characters at the end of `text` that `stop` may begin with, or consist of."""
    for num in range(min(len(stop), len(text)), 0, -1):
        if text.endswith(stop[:num]):
            return num
    return 0
