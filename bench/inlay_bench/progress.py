"""Lines that say how far a long measurement is."""

import time
from typing import TextIO


class Progress:
    """Counts finished pieces of work and writes a line for each."""

    def __init__(self, num_pieces: int, output: TextIO) -> None:
        self._num_pieces = num_pieces
        self._num_done = 0
        self._output = output
        self._start = time.monotonic()

    def advance(self, words: str) -> None:
        """One more piece is done."""
        self._num_done += 1
        self.note(words)

    def note(self, words: str) -> None:
        """Say something between two pieces."""
        width = len(str(self._num_pieces))
        seconds = time.monotonic() - self._start
        place = f"[{self._num_done:{width}}/{self._num_pieces}, {seconds:4.0f} s]"
        print(f"{place} {words}", file=self._output, flush=True)
