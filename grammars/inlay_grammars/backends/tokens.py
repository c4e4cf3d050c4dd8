"""A model's tokens as backends need them."""

import json
from collections.abc import Sequence
from typing import Any

from llguidance import LLTokenizer
from outlines.models import Transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast


class UnsupportedTokenizer(ValueError):
    """Grammars cannot be used with this tokenizer."""


class ModelTokens:
    """The tokenizer of a model beside the width of its logits and its end tokens."""

    def __init__(self, tokenizer_json: str, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        """Args as of `compiler.GrammarCompiler`.

        Raises:
            UnsupportedTokenizer: there are more tokens than logits, or no end token.
        """
        tokenizer = _within(vocab_size, tokenizer_json)
        num_tokens = tokenizer.get_vocab_size(with_added_tokens=True)
        self.vocab_size = vocab_size
        """Width of the logits, padding included."""
        self.eos_token_ids = tuple(i for i in eos_token_ids if 0 <= i < num_tokens)
        """Every token that ends an answer."""
        if not self.eos_token_ids:
            raise UnsupportedTokenizer(f"no end token of {list(eos_token_ids)} is in the tokenizer")
        self.tokenizer = tokenizer
        """Without tokens that the model has no logit for."""
        wrap: Any = PreTrainedTokenizerFast
        no_model: Any = None
        self.model = Transformers(no_model, wrap(tokenizer_object=tokenizer))
        """What Outlines takes for a model; there is none in it."""
        self.model.tensor_library_name = "numpy"  # that of "torch" compiles C++ when first used


def _within(vocab_size: int, tokenizer_json: str) -> Tokenizer:
    """The tokenizer without added tokens that the model has no logit for (Llama 3.2 Vision)."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    if _num_ids(tokenizer) <= vocab_size:
        return tokenizer
    document = json.loads(tokenizer_json)
    document["added_tokens"] = [t for t in document["added_tokens"] if t["id"] < vocab_size]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    if (num_ids := _num_ids(tokenizer)) > vocab_size:
        raise UnsupportedTokenizer(f"the tokenizer has {num_ids} tokens, the logits {vocab_size}")
    return tokenizer


def _num_ids(tokenizer: Tokenizer) -> int:
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


class TokenTable:
    """What every token writes, for backends that cannot read a tokenizer well enough themselves."""

    def __init__(self, tokens: ModelTokens, tokenizer: LLTokenizer) -> None:
        """tokenizer: llguidance's, which knows the bytes of tokens that are parts of characters."""
        self.vocab_size = tokens.vocab_size
        self.eos_token_ids = tokens.eos_token_ids
        no_text = set(tokens.eos_token_ids)
        self.texts = tuple(
            None
            if token_id in no_text or tokenizer.is_special_token(token_id)
            else tokenizer.decode_bytes([token_id]) or None
            for token_id in range(tokens.vocab_size)
        )
        """By id; None for special tokens, end tokens, and ids that no token has."""
        self._tokenizer = tokenizer

    def is_text(self, token_id: int) -> bool:
        """Whether the token can stand in an answer."""
        return 0 <= token_id < self.vocab_size and self.texts[token_id] is not None

    def tokenize_start(self, text: bytes) -> list[int]:
        """How the tokenizer begins `text`, as far as what follows cannot change it."""
        token_ids, _ = self._tokenizer.tokenize_partial(text)
        return token_ids
