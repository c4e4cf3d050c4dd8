"""Tokenizers that are odd, and how they are met or refused."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models

from inlay_grammars.backends.llguidance import LLGuidance
from inlay_grammars.backends.tokens import ModelTokens, UnsupportedTokenizer


def backend_of(tokenizer_json: str, vocab_size: int, eos_token_ids: list[int]) -> LLGuidance:
    return LLGuidance(ModelTokens(tokenizer_json, vocab_size, eos_token_ids))


def test_masks_are_as_wide_as_the_logits(tokenizer: Tokenizer) -> None:
    backend = backend_of(tokenizer.to_str(), 1003, [0, 1])
    assert backend.llg_tokenizer.vocab_size == 1003
    assert backend.llg_tokenizer.eos_tokens == [0, 1]
    assert backend.text_end_ids == ()


def test_tokens_that_the_model_has_no_logit_for_are_left_out(tokenizer: Tokenizer) -> None:
    num_tokens = tokenizer.get_vocab_size()
    wider = Tokenizer.from_str(tokenizer.to_str())
    wider.add_special_tokens([AddedToken("<|picture|>", special=True)])
    backend = backend_of(wider.to_str(), num_tokens, [0])
    assert backend.llg_tokenizer.vocab_size == num_tokens


def test_a_vocabulary_wider_than_the_logits_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnsupportedTokenizer, match=r"the tokenizer has \d+ tokens, the logits 100"):
        backend_of(tokenizer.to_str(), 100, [0])


def test_end_tokens_outside_the_tokenizer_are_ignored_unless_all_are(tokenizer: Tokenizer) -> None:
    assert backend_of(tokenizer.to_str(), 1003, [999, 0, -1]).llg_tokenizer.eos_tokens == [0]
    with pytest.raises(UnsupportedTokenizer, match="no end token"):
        backend_of(tokenizer.to_str(), 1003, [999])


def test_a_token_of_more_than_255_bytes_is_refused_in_words() -> None:
    long = Tokenizer(models.WordLevel({"<eos>": 0, "a": 1, "b" * 3000: 2}, unk_token="a"))
    with pytest.raises(UnsupportedTokenizer, match="not supported"):
        backend_of(long.to_str(), 3, [0])


def test_truncation_and_padding_of_the_tokenizer_do_not_matter(tokenizer: Tokenizer) -> None:
    bounded = Tokenizer.from_str(tokenizer.to_str())
    bounded.enable_truncation(4)
    bounded.enable_padding(length=8)
    assert json.loads(bounded.to_str())["truncation"] is not None
    backend = backend_of(bounded.to_str(), 1003, [0])
    text = "the quick brown fox jumps"
    assert backend.llg_tokenizer.tokenize_str(text) == tokenizer.encode(text).ids
