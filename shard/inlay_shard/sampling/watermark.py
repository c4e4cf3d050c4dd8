"""The watermark of Kirchenbauer et al., "A Watermark for Large Language Models" (ICML 2023).

The token before colours half of the vocabulary green; green tokens are favoured when the next one
is chosen. A text that holds many more green tokens than half was watermarked. Whoever knows the
hash key can recompute the colours on any machine: token t is green after token p when bit t % 32
of word t // 32 % 4 of Philox(counter=(p, t // 128, 0, 1), key=HASH_KEY) is set.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from inlay_shard.sampling.randomness import WATERMARK_DOMAIN, philox

GAMMA: Final = 0.5
"""Expected share of green tokens; one random bit a token fixes it."""
DELTA: Final = 2.0
"""What a green token's logit gains."""
HASH_KEY: Final = 15485863
"""Key of the random bits."""

_BLOCK: Final = 128
"""Tokens that one Philox block colours."""


def favour_green(logits: Tensor, previous_token_ids: Sequence[int]) -> None:
    """Add DELTA to each row's green logits, in place.

    logits: (rows, vocab_size), floating point. previous_token_ids: the token before the one that
    each row chooses.
    """
    is_green = torch.from_numpy(_is_green(previous_token_ids, logits.shape[1]))
    logits += is_green.to(logits.device, logits.dtype) * DELTA


def detect(token_ids: Sequence[int], vocab_size: int) -> float:
    """Standard deviations by which `token_ids` hold more green tokens than chance would give.

    Each distinct pair of neighbours counts once, so that a text which repeats itself proves
    nothing. 0.0 for a text of fewer than two tokens. Above 4, chance is below 1 in 30,000.
    Raises ValueError for an id outside [0, vocab_size).
    """
    if any(not 0 <= token_id < vocab_size for token_id in token_ids):
        raise ValueError(f"token ids must be in [0, {vocab_size})")
    pairs = sorted(set(zip(token_ids, token_ids[1:], strict=False)))
    if not pairs:
        return 0.0
    previous, chosen = np.array(pairs, np.uint64).T
    words = np.stack(philox((previous, chosen // _BLOCK, 0, WATERMARK_DOMAIN), HASH_KEY))
    word = words[(chosen // 32 % 4).astype(np.intp), np.arange(len(pairs))]
    num_green = int(((word >> chosen % 32) & 1).sum())
    expected = GAMMA * len(pairs)
    return (num_green - expected) / math.sqrt(expected * (1 - GAMMA))


def _is_green(previous_token_ids: Sequence[int], vocab_size: int) -> np.ndarray:
    """Colours of the vocabulary after each token: bool (rows, vocab_size)."""
    blocks = np.arange(-(-vocab_size // _BLOCK))
    previous = np.asarray(previous_token_ids, np.uint64)[:, None]
    words = np.stack(philox((previous, blocks, 0, WATERMARK_DOMAIN), HASH_KEY), axis=-1)
    octets = words.astype("<u4").view(np.uint8).reshape(len(previous), -1)
    return np.unpackbits(octets, axis=1, count=vocab_size, bitorder="little").astype(bool)
