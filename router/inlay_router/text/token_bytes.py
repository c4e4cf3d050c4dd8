"""What each token of a vocabulary adds to a text, read off the tokenizer's decoder."""

import json
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import tokenizers

Piece: TypeAlias = str | bytes
"""A token's text: `str` while it is whole characters, `bytes` where it may be a part of one."""
Rule: TypeAlias = Callable[[Piece], Piece]


class TokenBytes(dict[int, Piece]):
    """What each token adds, by id, made when first asked for; a dict, as each token of each answer
    is looked up. An id out of the vocabulary is empty.

    It describes tokens in the middle of a text: decoders that drop a space at the very beginning
    of a text keep it here, because an answer continues its prompt.
    """

    def __init__(self, fast: tokenizers.Tokenizer, rules: list[Rule]) -> None:
        super().__init__()
        self._fast = fast
        self._rules = rules

    @classmethod
    def of(cls, fast: tokenizers.Tokenizer) -> Self | None:
        """None when the text of a token depends on its neighbours (WordPiece, CTC, none at all)."""
        if fast.decoder is None:
            return None
        rules = _rules(json.loads(fast.decoder.__getstate__()), is_fused=False)
        return None if rules is None else cls(fast, rules)

    def __missing__(self, token_id: int) -> Piece:
        piece = self[token_id] = self._make(token_id)
        return piece

    def _make(self, token_id: int) -> Piece:
        piece: Piece = self._fast.id_to_token(token_id) or ""
        for rule in self._rules:
            piece = rule(piece)
        return _as_text(piece)


def _as_text(piece: Piece) -> Piece:
    try:
        return piece if isinstance(piece, str) else piece.decode()
    except UnicodeDecodeError:
        return piece


def _rules(decoder: dict[str, Any], *, is_fused: bool) -> list[Rule] | None:
    """The decoder as rules for one token; None where a token cannot be looked at alone.

    Behind `Fuse` the library sees one text, so what strips its ends no longer concerns a token
    in the middle.
    """
    match decoder:
        case {"type": "Sequence", "decoders": list(parts)}:
            return _chain(parts)
        case {"type": "ByteLevel"}:
            return [_from_byte_level]
        case {"type": "ByteFallback"}:
            return [_from_byte_fallback]
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
            return [_replacing(old, new)]
        case {"type": "Metaspace", "replacement": str(mark)}:
            return [_replacing(mark, " ")]
        case {"type": "Fuse"}:
            return []
        case {"type": "Strip"} if is_fused:
            return []
    return None


def _chain(parts: list[dict[str, Any]]) -> list[Rule] | None:
    rules: list[Rule] = []
    is_fused = False
    for part in parts:
        is_fused = is_fused or part["type"] == "Fuse"
        more = _rules(part, is_fused=is_fused)
        if more is None:
            return None
        rules += more
    return rules


def _replacing(old: str, new: str) -> Rule:
    return lambda piece: piece.replace(old, new) if isinstance(piece, str) else piece


def _from_byte_fallback(piece: Piece) -> Piece:
    is_byte = len(piece) == 6 and isinstance(piece, str) and piece.startswith("<0x")
    if not is_byte or piece[-1] != ">":
        return piece
    try:
        return bytes.fromhex(str(piece[3:5]))
    except ValueError:
        return piece


def _byte_of_character() -> dict[str, int]:
    """The printable stand-ins for bytes in byte-level vocabularies (GPT-2, `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _byte_of_character()


def _from_byte_level(piece: Piece) -> Piece:
    """A token with a character that stands for no byte (an added token) is its own text."""
    try:
        return bytes([_BYTES[str(character)] for character in piece])
    except KeyError:
        return piece
