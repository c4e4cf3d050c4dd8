"""Random numbers that are a function of (key, counter) and of nothing else.

Philox 4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). A token's
number depends on its request's seed and on its position, never on batch, neighbours or history.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]
"""Numbers below 2**32, held in 64 bits so that products of two do not overflow."""

DRAW_DOMAIN: Final = 0
"""Last counter word of the numbers that choose tokens."""
WATERMARK_DOMAIN: Final = 1
"""Last counter word of the numbers that colour the vocabulary."""

_ROUNDS: Final = 10
_WORD: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))


def philox(counter: tuple[ArrayLike, ...], key: ArrayLike) -> tuple[Words, Words, Words, Words]:
    """Philox 4x32-10: four 32-bit words for each counter and key.

    counter: four broadcastable arrays of numbers below 2**32, lowest word first. key: numbers
    below 2**64. All outputs have the broadcast shape.
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    key = np.asarray(key, np.uint64)
    k0, k1 = key & _LOW, key >> _WORD
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _WORD) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _WORD) ^ c3 ^ k1,
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def uniforms(seeds: ArrayLike, positions: ArrayLike) -> NDArray[np.float64]:
    """One number in [0, 1) with 53 random bits for each (seed, position).

    seeds: below 2**64. positions: places of the tokens in their answers, below 2**32.
    """
    high, low, _, _ = philox((positions, 0, 0, DRAW_DOMAIN), seeds)
    bits = ((high >> np.uint64(5)) << np.uint64(26)) | (low >> np.uint64(6))
    return bits.astype(np.float64) * 2.0**-53
