"""Ways through a grammar: random answers out of its masks, and a given text in random tokens."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers

from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError

END_SHARE = 0.2
"""How often a random answer takes what closes something; uniform choices hardly ever do."""


class RandomWalks:
    """Walks for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self._mask = BatchMask(1, vocab_size, num_threads=1)
        self._vocab_size = vocab_size
        self._eos_token_ids = set(eos_token_ids)
        self._closers = {i for text in '"]}' for i in tokenizer.encode(text).ids}
        self._by_first_byte = tokens_by_first_byte(tokenizer)

    def allowed(self, matcher: Matcher) -> NDArray[np.intp]:
        """Ids that the mask allows. Raises AssertionError when the grammar cannot be followed."""
        assert self._mask.fill({0: matcher}) == {}
        bits = self._mask.words[0].view(np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little", count=self._vocab_size))

    def answer(self, matcher: Matcher, chance: Random, max_tokens: int) -> str | None:
        """Random allowed tokens up to an end; None if there is none within `max_tokens`."""
        token_ids: list[int] = []
        while len(token_ids) <= max_tokens:
            allowed = set(self.allowed(matcher).tolist())
            ends = allowed & self._eos_token_ids
            assert bool(ends) == matcher.is_accepting
            allowed -= ends
            if not allowed or (ends and chance.random() < END_SHARE):
                assert ends, f"a dead end after {self.tokenizer.decode(token_ids)}"
                return self.tokenizer.decode(token_ids, skip_special_tokens=False)
            closers = sorted(allowed & self._closers)
            is_closing = closers and chance.random() < END_SHARE
            token_ids.append(chance.choice(closers if is_closing else sorted(allowed)))
            matcher.consume(token_ids[-1:])
        return None

    def accepts(self, matcher: Matcher, token_ids: Sequence[int]) -> bool:
        """Every token may follow the ones before it, and an end may follow the last.

        A mask shows all of them but where the text is forced: there it has the token alone that
        the tokenizer would write.
        """
        for token_id in token_ids:
            allowed = self.allowed(matcher)
            try:
                matcher.consume([token_id])
            except GrammarError:
                assert token_id not in allowed
                return False
            assert token_id in allowed or len(allowed) == 1
        return bool(self._eos_token_ids & set(self.allowed(matcher).tolist()))

    def random_tokens(self, text: str, chance: Random) -> list[int]:
        """The bytes of `text` cut into tokens at random places, parts of characters included."""
        rest, token_ids = text.encode(), []
        while rest:
            options = self._by_first_byte[rest[0]]
            token, token_id = chance.choice([each for each in options if rest.startswith(each[0])])
            rest = rest[len(token) :]
            token_ids.append(token_id)
        return token_ids


def tokens_by_first_byte(tokenizer: Tokenizer) -> dict[int, list[tuple[bytes, int]]]:
    """Bytes and id of every token of a byte-level vocabulary, special ones left out."""
    tokens = defaultdict(list)
    special = set(tokenizer.get_added_tokens_decoder())
    for token, token_id in sorted(tokenizer.get_vocab().items()):
        if token_id not in special:
            as_bytes = bytes(BYTES[character] for character in token)
            tokens[as_bytes[0]].append((as_bytes, token_id))
    return tokens


def _byte_of_each_character() -> dict[str, int]:
    """The byte-level alphabet: bytes that print stand for themselves, others for what is beyond."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    characters = {chr(byte): byte for byte in plain}
    characters |= {chr(256 + place): byte for place, byte in enumerate(others)}
    assert set(characters) == set(pre_tokenizers.ByteLevel.alphabet())
    return characters


BYTES = _byte_of_each_character()
