"""Whether masks of a grammar are found quickly enough for the others in its batch."""

import time
from random import Random

import numpy as np

from inlay_grammars.backends.tokens import ModelTokens
from inlay_grammars.compiler import Grammar
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError

NUM_STEPS = 24
"""Of one random answer. What explodes is slow by then: a regex of 33 bytes takes xgrammar 0.2 ms
for its first mask, and seconds for its twentieth."""
MAX_SECONDS = 0.05
"""Of processor time, for one mask. A slow one gets a second chance, which finds caches warm."""


def refuse_slow(grammar: Grammar, tokens: ModelTokens) -> None:
    """Walk through a grammar at random.

    Raises:
        GrammarError: a mask takes too long, or the grammar becomes too complex to follow.
    """
    chance = Random(0)
    mask = BatchMask(1, tokens.vocab_size, num_threads=1)
    matcher = grammar.matcher()
    for _ in range(NUM_STEPS):
        _fill(mask, matcher)
        bits = np.unpackbits(mask.words[0].view(np.uint8), bitorder="little")
        bits[list(tokens.eos_token_ids)] = 0
        allowed = np.flatnonzero(bits)
        if not len(allowed):
            return
        matcher.consume([int(chance.choice(allowed))])


def _fill(mask: BatchMask, matcher: Matcher) -> None:
    for _ in range(2):
        start = time.process_time()
        errors = mask.fill({0: matcher})
        seconds = time.process_time() - start
        if errors:
            raise GrammarError(f"the grammar cannot be followed: {errors[0]}")
        if seconds < MAX_SECONDS:
            return
    raise GrammarError(
        f"the grammar takes {seconds:.2g} s to find the allowed tokens at one place; "
        f"the limit is {MAX_SECONDS} s"
    )
