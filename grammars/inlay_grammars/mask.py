"""Allowed tokens of many sequences, packed one bit a token, filled in one call."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from inlay_grammars.backends.interface import Filler, State
from inlay_grammars.bits import ALL, num_words
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError


class BatchMask:
    """Masks for up to `max_rows` sequences. For one thread at a time."""

    words: NDArray[np.int32]
    """(max_rows, ceil(vocab_size / 32)). Token i of row r is allowed if bit i % 32 of
    words[r, i // 32] is set. A row without a matcher is all ones."""

    def __init__(
        self,
        max_rows: int,
        vocab_size: int,
        *,
        words: NDArray[np.int32] | None = None,
        num_threads: int | None = None,
    ) -> None:
        """A mask that allows everything.

        Args:
            max_rows: sequences in the largest batch.
            vocab_size: width of the logits, as given to the compiler.
            words: memory to use, for example pinned; contiguous, of the shape above.
            num_threads: threads that fill; None for four fifths of the cores.
        """
        shape = (max_rows, num_words(vocab_size))
        self.words = np.empty(shape, np.int32) if words is None else words
        if self.words.shape != shape or self.words.dtype != np.int32:
            raise ValueError(f"words must be int32 of shape {shape}, not {self.words.shape}")
        if not self.words.flags.c_contiguous:
            raise ValueError("words must be contiguous")
        self.words.fill(ALL)
        self._num_threads = num_threads
        self._fillers: dict[type[Filler], Filler] = {}
        self._rows: set[int] = set()

    def fill(self, matchers: Mapping[int, Matcher]) -> dict[int, str]:
        """Write the masks of these rows, and allow everything in all others.

        A mask shows no token that does not exist, and the end tokens exactly when the answer is
        complete. The interpreter lock is free most of the time.

        Returns:
            For each row whose grammar cannot be followed any further, why; its mask means nothing.
        """
        for row in self._rows - matchers.keys():
            self.words[row] = ALL
        self._rows = set(matchers)
        self._fill(matchers)
        failed = {row: matcher for row, matcher in matchers.items() if matcher.error is not None}
        if failed:
            self._try_again(failed)
        return {row: error for row, m in failed.items() if (error := m.error) is not None}

    def _fill(self, matchers: Mapping[int, Matcher]) -> None:
        """Each backend fills the rows of its own matchers."""
        states: dict[type[Filler], dict[int, State]] = {}
        for row, matcher in matchers.items():
            states.setdefault(matcher.state.filler, {})[row] = matcher.state
        for kind, by_row in states.items():
            if kind not in self._fillers:
                self._fillers[kind] = kind(self._num_threads)
            self._fillers[kind].fill(by_row, self.words)

    def _try_again(self, failed: Mapping[int, Matcher]) -> None:
        """One sequence may have worn out the template that others with its grammar stand on."""
        for matcher in failed.values():
            with suppress(GrammarError):
                matcher.renew()
        self._fill(failed)
