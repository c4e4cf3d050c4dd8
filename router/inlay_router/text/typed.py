"""Tokens that are text where a client types them: placeholders of images, and special ones."""

import re
from collections.abc import Iterable
from itertools import pairwise

from inlay_proto import generate_pb2 as pb
from inlay_router.text.tokenizer import Tokenizer

WORD_JOINER = "\u2060"
"""Invisible. Inside a token that a user typed it makes a text of it for any processor."""


class TypedTokens:
    """Finds some tokens in texts, and takes them apart."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """A token of one character cannot be taken apart, and is left as it is."""
        found = "|".join(re.escape(token) for token in tokens if len(token) > 1) or "(?!)"
        self._begins = re.compile(f"(?={found})")

    def pieces(self, text: str) -> list[str]:
        """`text` in one or more pieces: each token is cut behind its first character."""
        cuts = [found.start() + 1 for found in self._begins.finditer(text)]
        return [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]

    def broken(self, text: str) -> str:
        """`text` with a word joiner inside each token."""
        return WORD_JOINER.join(self.pieces(text))


def tokens_for_text(facts: pb.ModelFacts, tokenizer: Tokenizer, *, has_plain: bool) -> TypedTokens:
    """Placeholders alone; with `has_plain`, the model's special tokens too."""
    tokens = set(facts.placeholders)
    if has_plain:
        tokens.update(text for text, is_special in tokenizer.added_tokens.items() if is_special)
    return TypedTokens(tokens)
