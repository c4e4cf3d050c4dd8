"""The tokenizer, on the small byte-level one that the scripted link ships."""

import pytest

from inlay_router.links.scripted import scripted_facts
from inlay_router.text.tokenizer import Tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(scripted_facts().tokenizer_json)


def test_text_goes_there_and_back(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Grüße, 日本 🙂")
    assert tokenizer.decode(ids) == "Grüße, 日本 🙂"


def test_special_tokens_are_known_as_such(tokenizer: Tokenizer) -> None:
    (end,) = tokenizer.encode("</s>")
    assert tokenizer.is_special(end)
    assert tokenizer.text(end) == "</s>"
    assert tokenizer.decode([*tokenizer.encode("a"), end], skip_special_tokens=True) == "a"
    assert not tokenizer.is_special(tokenizer.encode("a")[0])


def test_the_text_of_a_token_stands_alone(tokenizer: Tokenizer) -> None:
    assert [tokenizer.text(i) for i in tokenizer.encode("a b")] == ["a", " ", "b"]
    assert [tokenizer.text(i) for i in tokenizer.encode("é")] == ["\ufffd", "\ufffd"]


def test_an_id_out_of_the_vocabulary_is_empty(tokenizer: Tokenizer) -> None:
    assert tokenizer.text(tokenizer.vocab_size + 3) == ""


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        Tokenizer("{}")
