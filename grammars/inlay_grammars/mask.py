"""Allowed tokens of many sequences, packed one bit a token, filled in one call."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from llguidance import LLExecutor
from numpy.typing import NDArray

from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError

BITS = 32
ALL = np.int32(-1)


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
        shape = (max_rows, -(-vocab_size // BITS))
        self.words = np.empty(shape, np.int32) if words is None else words
        if self.words.shape != shape or self.words.dtype != np.int32:
            raise ValueError(f"words must be int32 of shape {shape}, not {self.words.shape}")
        if not self.words.flags.c_contiguous:
            raise ValueError("words must be contiguous")
        self.words.fill(ALL)
        self._executor = LLExecutor(num_threads)
        self._rows: set[int] = set()

    def fill(self, matchers: Mapping[int, Matcher]) -> dict[int, str]:
        """Write the masks of these rows, and allow everything in all others.

        A mask shows no token that does not exist, and the end tokens exactly when the answer is
        complete. The interpreter lock is free meanwhile.

        Returns:
            For each row whose grammar cannot be followed any further, why; its mask means nothing.
        """
        for row in self._rows - matchers.keys():
            self.words[row] = ALL
        self._rows = set(matchers)
        if not matchers:
            return {}
        self._fill(matchers)
        failed = {row: m for row, m in matchers.items() if m.native.is_error()}
        if failed:
            self._try_again(failed)
        for row, matcher in matchers.items():
            if matcher.text_end_ids:
                self._correct(row, matcher)
        return {row: error for row, m in failed.items() if (error := m.error) is not None}

    def _fill(self, matchers: Mapping[int, Matcher]) -> None:
        max_rows, num_words = self.words.shape
        pairs = [(matcher.native, row) for row, matcher in matchers.items()]
        address = self.words.ctypes.data
        self._executor.unsafe_compute_mask_ptr(pairs, address, num_words * 4, max_rows)

    def _try_again(self, failed: Mapping[int, Matcher]) -> None:
        """One sequence may have worn out the template that others with its grammar stand on."""
        for matcher in failed.values():
            with suppress(GrammarError):
                matcher.renew()
        self._fill(failed)

    def _correct(self, row: int, matcher: Matcher) -> None:
        """Allow end tokens that llguidance takes for text exactly when the answer is complete."""
        bits = self.words.view(np.uint32)[row]
        for token_id in matcher.text_end_ids:
            bit = np.uint32(1 << token_id % BITS)
            if matcher.is_accepting:
                bits[token_id // BITS] |= bit
            else:
                bits[token_id // BITS] &= ~bit
