"""Text to token ids and back, from the text of a `tokenizer.json`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import tokenizers

from inlay_router.text.token_bytes import TokenBytes


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
        self.special_ids = frozenset(id_ for id_, token in added.items() if token.special)
        """Tokens that are marks rather than text, such as the end of sequence."""
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

    def spans(self, text: str, *, add_special_tokens: bool = True) -> list[tuple[int, int, int]]:
        """Id, start and end of every token: half-open intervals of characters of `text`."""
        found = self._fast.encode(text, add_special_tokens=add_special_tokens)
        pairs = zip(found.ids, found.offsets, strict=True)
        return [(token_id, start, end) for token_id, (start, end) in pairs]

    def spans_of(self, pieces: Sequence[str]) -> list[tuple[int, int, int]]:
        """The same for a text in pieces: no token reaches from one into the next."""
        before, behind = self._frame
        found = [(token_id, 0, 0) for token_id in before]
        num_characters = 0
        for piece in pieces:
            for token_id, start, end in _spans_behind(
                self._fast, piece, is_first=not num_characters
            ):
                found.append((token_id, num_characters + start, num_characters + end))
            num_characters += len(piece)
        return [*found, *((token_id, num_characters, num_characters) for token_id in behind)]

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """Tokens that the tokenizer's template adds before a text, and behind it."""
        found = self._fast.encode("a")
        mask = found.special_tokens_mask
        start, stop = mask.index(0), len(mask) - mask[::-1].index(0)
        return found.ids[:start], found.ids[stop:]

    @cached_property
    def added_tokens(self) -> Mapping[str, bool]:
        """Tokens that are recognised wherever they are written, and whether each is special."""
        added = self._fast.get_added_tokens_decoder().values()
        return {token.content: token.special for token in added}

    def special_id(self, text: str) -> int | None:
        """The id of the special token that `text` is; None if it is none."""
        return self._fast.token_to_id(text) if self.added_tokens.get(text) else None

    def encode_parts(self, parts: Sequence[tuple[str, bool]]) -> list[int]:
        """Ids of texts that follow one another; in a text with True no added token is recognised.

        Adds no special tokens.
        """
        ids: list[int] = []
        for index, (text, is_literal) in enumerate(parts):
            fast = self._literal if is_literal else self._fast
            part_ids = _encode_behind(fast, text) if index else _encode(fast, text)
            if is_literal and self._fast.token_to_id(text) in part_ids:
                # It is added without being special, which the library recognises all the same.
                part_ids = [
                    *_encode_behind(self._fast, text[:1]),
                    *_encode_behind(self._fast, text[1:]),
                ]
            ids += part_ids
        return ids

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        """A twin that takes special tokens for text."""
        twin = tokenizers.Tokenizer.from_str(self._fast.to_str())
        twin.encode_special_tokens = True
        return twin

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """Text of the whole of `token_ids`; unknown ids add nothing."""
        text: str = self._fast.decode(list(token_ids), skip_special_tokens=skip_special_tokens)
        return text

    def is_special(self, token_id: int) -> bool:
        """Whether it is one of `special_ids`."""
        return token_id in self.special_ids

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
        piece = self.token_bytes[token_id]
        return piece if isinstance(piece, str) else piece.decode("utf-8", "replace")


def _encode(fast: tokenizers.Tokenizer, text: str) -> list[int]:
    ids: list[int] = fast.encode(text, add_special_tokens=False).ids
    return ids


def _encode_behind(fast: tokenizers.Tokenizer, text: str) -> list[int]:
    """Ids of a text in the middle of another.

    It is encoded behind a line break, because some tokenizers put a space before whatever stands
    first; as `transformers` does it.
    """
    before = _encode(fast, "\n")
    ids = _encode(fast, f"\n{text}")
    return ids[len(before) :] if ids[: len(before)] == before else _encode(fast, text)


def _spans_behind(
    fast: tokenizers.Tokenizer, text: str, *, is_first: bool
) -> list[tuple[int, int, int]]:
    """Ids of a text, and where they stand in it; as `_encode_behind` where it is not the first."""
    lead = "" if is_first else "\n"
    num_before = len(_encode(fast, lead)) if lead else 0
    found = fast.encode(lead + text, add_special_tokens=False)
    spans = [
        (token_id, max(0, start - len(lead)), end - len(lead))
        for token_id, (start, end) in zip(found.ids, found.offsets, strict=True)
    ]
    return spans[num_before:]
