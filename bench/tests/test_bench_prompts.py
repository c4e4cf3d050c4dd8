"""Prompts have the length that they promise and share nothing."""

import io

import pytest
from PIL import Image

from inlay_bench.prompts import make_prompts
from inlay_bench.vocabulary import SPECIAL_TOKENS, SYLLABLES, WORDS, build_tokenizer

VOCAB_SIZE = 49_280


def test_each_word_of_a_prompt_is_one_token() -> None:
    tokenizer = build_tokenizer(VOCAB_SIZE)
    for prompt in make_prompts("text", 4, 50, 64, "seed"):
        assert len(tokenizer.encode(prompt.text)) == 50
        assert prompt.markdown == prompt.processor_text == prompt.text


def test_a_picture_counts_with_its_marks() -> None:
    tokenizer = build_tokenizer(VOCAB_SIZE)
    (prompt,) = make_prompts("image", 1, 100, 64, "seed")
    assert len(tokenizer.encode(prompt.text)) == 100 - 64 - 3
    assert prompt.processor_text == "<image>" + prompt.text
    assert prompt.markdown.startswith("![](data:image/png;base64,")
    assert prompt.picture is not None
    assert Image.open(io.BytesIO(prompt.picture)).format == "PNG"


def test_prompts_differ_between_streams_and_seeds_and_repeat_with_the_seed() -> None:
    prompts = make_prompts("image", 3, 100, 64, "one") + make_prompts("image", 3, 100, 64, "two")
    assert len({prompt.text for prompt in prompts}) == 6
    assert len({prompt.picture for prompt in prompts}) == 6
    assert prompts[:3] == make_prompts("image", 3, 100, 64, "one")


def test_a_prompt_too_short_for_its_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="a picture takes more than 67 tokens of prompt"):
        make_prompts("image", 1, 67, 64, "seed")


def test_the_vocabulary_has_the_size_asked_for_and_any_text_survives_it() -> None:
    tokenizer = build_tokenizer(VOCAB_SIZE)
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    assert tokenizer.decode(tokenizer.encode(" bada é 漢 🙂\n").ids) == " bada é 漢 🙂\n"


@pytest.mark.parametrize("vocab_size", [100, 10_000_000])
def test_a_vocabulary_that_the_words_cannot_make_is_refused(vocab_size: int) -> None:
    smallest = len(SPECIAL_TOKENS) + 256 + len(SYLLABLES) + 2 * len(WORDS)
    with pytest.raises(ValueError, match=rf"vocab_size is {vocab_size}; it is in \[{smallest}, "):
        build_tokenizer(vocab_size)
