"""Masks: one bit a token, packed in words of 32."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BITS = 32
ALL = np.int32(-1)


def num_words(vocab_size: int) -> int:
    """Words in the mask of one row."""
    return -(-vocab_size // BITS)


def put_bits(row: NDArray[np.int32], token_ids: Iterable[int], is_allowed: bool) -> None:
    """Allow these tokens in the mask of one row, or forbid them."""
    bits = row.view(np.uint32)
    for token_id in token_ids:
        bit = np.uint32(1 << token_id % BITS)
        if is_allowed:
            bits[token_id // BITS] |= bit
        else:
            bits[token_id // BITS] &= ~bit


def last_word(vocab_size: int) -> np.int32:
    """The last word of a mask that allows every token, with no bit for what is no token."""
    num_last = (vocab_size - 1) % BITS + 1
    return np.uint32(2**num_last - 1).view(np.int32)
