"""Text to token ids and back, from the text of a `tokenizer.json`."""

from collections.abc import Iterable
from functools import cached_property

import tokenizers

from inlay_router.token_bytes import TokenBytes


class Tokenizer:
    """A fast tokenizer; everything here is immutable, and safe to share between streams."""

    def __init__(self, tokenizer_json: str) -> None:
        """Raises ValueError when `tokenizer_json` is not a tokenizer."""
        try:
            self._fast = tokenizers.Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"not a tokenizer.json: {error}") from error
        self._fast.no_truncation()
        self._fast.no_padding()
        added = self._fast.get_added_tokens_decoder()
        self._special_ids = frozenset(id_ for id_, token in added.items() if token.special)
        self._texts: dict[int, str] = {}

    @property
    def vocab_size(self) -> int:
        """Ids are in [0, vocab_size), added tokens included."""
        return self._fast.get_vocab_size(with_added_tokens=True)

    @cached_property
    def max_token_length(self) -> int:
        """Characters of the longest token: n of them make at least n / `max_token_length` tokens,
        unless the tokenizer drops characters."""
        return max(map(len, self._fast.get_vocab(with_added_tokens=True)), default=1)

    @cached_property
    def token_bytes(self) -> TokenBytes | None:
        """What each token adds to a text, in bytes; None when tokens depend on their neighbours."""
        return TokenBytes.of(self._fast)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of `text`; special tokens written in the text are recognised.

        `add_special_tokens` adds those of the tokenizer's template, such as the beginning of
        sequence.
        """
        ids: list[int] = self._fast.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """Text of the whole of `token_ids`; unknown ids add nothing."""
        text: str = self._fast.decode(list(token_ids), skip_special_tokens=skip_special_tokens)
        return text

    def is_special(self, token_id: int) -> bool:
        """Whether the token is a mark rather than text, such as the end of sequence."""
        return token_id in self._special_ids

    def text(self, token_id: int) -> str:
        """What the token adds to a text that goes on; incomplete characters show as U+FFFD."""
        text = self._texts.get(token_id)
        if text is None:
            text = self._texts[token_id] = self._render(token_id)
        return text

    def _render(self, token_id: int) -> str:
        if self.is_special(token_id):
            return str(self._fast.id_to_token(token_id))
        if self.token_bytes is None:
            return self.decode([token_id])
        piece = self.token_bytes.piece(token_id)
        return piece if isinstance(piece, str) else piece.decode("utf-8", "replace")
