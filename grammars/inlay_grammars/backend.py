"""Outlines' llguidance backend, fitted to a model's logits instead of its tokenizer's defaults."""

import json
from collections.abc import Sequence
from typing import Any

import llguidance.hf
from llguidance import LLTokenizer
from outlines.backends.llguidance import LLGuidanceBackend, LLGuidanceLogitsProcessor
from outlines.models import SteerableModel, Transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast


class UnsupportedTokenizer(ValueError):
    """Grammars cannot be used with this tokenizer."""


class Backend(LLGuidanceBackend):
    """Makes Outlines' logits processors for one model.

    Three things differ from Outlines' own: a mask is as wide as the logits, every end token of the
    model ends a grammar, and a regex may use `\\d`, `\\w`, `\\s` in their ASCII sense, as in TGI.
    """

    def __init__(self, tokenizer_json: str, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        """Takes about 1.5 s and 200 MB for 131,072 tokens.

        Args:
            tokenizer_json: what `tokenizers.Tokenizer.to_str()` gives.
            vocab_size: width of the logits, padding included.
            eos_token_ids: every token that ends an answer.

        Raises:
            UnsupportedTokenizer: grammars cannot be used with this tokenizer.
        """
        tokenizer = _within(vocab_size, tokenizer_json)
        num_tokens = tokenizer.get_vocab_size(with_added_tokens=True)
        self._vocab_size = vocab_size
        self._eos_token_ids = [i for i in eos_token_ids if 0 <= i < num_tokens]
        if not self._eos_token_ids:
            raise UnsupportedTokenizer(f"no end token of {list(eos_token_ids)} is in the tokenizer")
        wrap: Any = PreTrainedTokenizerFast
        no_model: Any = None
        super().__init__(Transformers(no_model, wrap(tokenizer_object=tokenizer)))
        self.tensor_library_name = "numpy"  # the processors of "torch" compile C++ when first used

    def _create_llg_tokenizer(self, model: SteerableModel) -> LLTokenizer:
        assert isinstance(model, Transformers)
        tokenizer: Any = model.hf_tokenizer
        try:
            return llguidance.hf.from_tokenizer(
                tokenizer, n_vocab=self._vocab_size, eos_token=self._eos_token_ids
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of Rust is no Exception: tokens over 255 bytes
            raise UnsupportedTokenizer(f"the tokenizer is not supported: {error}") from error

    @property
    def text_end_ids(self) -> tuple[int, ...]:
        """End tokens that are plain text to llguidance, which would allow them inside a string."""
        is_special = self.llg_tokenizer.is_special_token
        return tuple(i for i in self._eos_token_ids if not is_special(i))

    def get_ascii_regex_logits_processor(self, regex: str) -> LLGuidanceLogitsProcessor:
        """As `get_regex_logits_processor`, with ASCII classes and anchors allowed at both ends."""
        return self.get_lark_logits_processor(f"start: /{self.llg.regex_to_lark(regex, 'dws')}/\n")

    def get_lark_logits_processor(self, lark: str) -> LLGuidanceLogitsProcessor:
        """Of a grammar in llguidance's dialect of Lark, with `%json` and special tokens by id."""
        grammar = self.llg.grammar_from("lark", lark)
        return LLGuidanceLogitsProcessor(grammar, self.llg_tokenizer, self.tensor_library_name)


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
