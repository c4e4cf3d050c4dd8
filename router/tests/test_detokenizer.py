"""Detokenizers against tokenizers of every kind that models come with."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from inlay_router.text.detokenizer import ByteDetokenizer, WindowDetokenizer, detokenizer
from inlay_router.text.tokenizer import Tokenizer

WORDS = ["hello", "world", "a", "red", "circle", "é", "日本", "🙂", "."]
CHARACTERS = [chr(code) for code in range(0x21, 0x7F)]


def finished(fast: FastTokenizer) -> Tokenizer:
    fast.add_tokens([AddedToken("<image>", special=False, normalized=False)])
    fast.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    return Tokenizer(fast.to_str())


def byte_level() -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen: every byte is a token, and some are merged."""
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "hello"), ("ð", "Ł")]
    entries = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in merges]
    vocab = {entry: i for i, entry in enumerate(entries)}
    fast = FastTokenizer(models.BPE(vocab=vocab, merges=merges))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    return finished(fast)


def byte_fallback() -> Tokenizer:
    """As Llama 2 and Gemma: words, and bytes for what no word covers."""
    merges = [("r", "e"), ("re", "d"), ("▁", "red")]
    entries = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *CHARACTERS]
    entries += ["".join(pair) for pair in merges]
    vocab = {entry: i for i, entry in enumerate(entries)}
    fast = FastTokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])
    return finished(fast)


def metaspace() -> Tokenizer:
    """As T5: sentencepiece pieces with a mark for spaces, and no bytes."""
    pieces = ["<unk>", "▁", *("▁" + word for word in WORDS), *WORDS, *CHARACTERS]
    vocab = [(piece, -float(i)) for i, piece in enumerate(dict.fromkeys(pieces))]
    fast = FastTokenizer(models.Unigram(vocab, unk_id=0))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.decoder = decoders.Metaspace()
    return finished(fast)


def word_pieces() -> Tokenizer:
    """As BERT: what a token adds depends on the one before it."""
    pieces = ["[UNK]", *WORDS, *("##" + word for word in WORDS)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    fast = FastTokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.decoder = decoders.WordPiece(cleanup=False)
    return finished(fast)


BY_BYTES = {make.__name__: make() for make in (byte_level, byte_fallback, metaspace)}
ALL = BY_BYTES | {"word_pieces": word_pieces()}
texts = st.text(max_size=40)


def pushed(tokenizer: Tokenizer, prompt: str, answer: list[int]) -> list[str]:
    context = tokenizer.encode(prompt, add_special_tokens=False)
    stream = detokenizer(tokenizer, context)
    return [stream.push(token_id) for token_id in answer]


def is_whole(text: str) -> bool:
    """Whether the text holds whole characters only."""
    return text.encode().decode() == text


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@settings(deadline=None)
@given(text=texts)
def test_any_text_comes_back(make: Callable[[], Tokenizer], text: str) -> None:
    tokenizer = BY_BYTES[make.__name__]
    ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = pushed(tokenizer, "hello", ids)
    assert "".join(pieces) == text
    assert all(is_whole(piece) for piece in pieces)


@pytest.mark.parametrize("name", BY_BYTES)
@settings(deadline=None)
@given(data=st.data())
def test_joined_pieces_are_what_the_library_decodes(name: str, data: st.DataObject) -> None:
    tokenizer = BY_BYTES[name]
    text = data.draw(texts)
    ids = tokenizer.encode("a" + text, add_special_tokens=False)
    expected = tokenizer.decode(ids)
    assert "".join(pushed(tokenizer, "a", ids)).lstrip(" ") == expected.lstrip(" ")


HALF_A_SURROGATE = [169, 94]
"""The bytes ED A1: Python waits for a third, the library knows already that none can follow."""


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 261), max_size=30))
@example(ids=HALF_A_SURROGATE)
def test_any_byte_level_ids_give_what_the_library_decodes(ids: list[int]) -> None:
    tokenizer = BY_BYTES["byte_level"]
    text = "".join(pushed(tokenizer, "", ids))
    whole = tokenizer.decode(ids)
    assert whole.startswith(text)
    missing = whole[len(text) :]
    is_half_a_surrogate = missing == "\ufffd" * 2 and ids[-2] == HALF_A_SURROGATE[0]
    assert missing in ("", "\ufffd") or is_half_a_surrogate, "only an incomplete character may miss"


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None)
@given(data=st.data())
def test_any_ids_give_whole_characters(name: str, data: st.DataObject) -> None:
    tokenizer = ALL[name]
    answer = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 5), max_size=30))
    assert all(is_whole(piece) for piece in pushed(tokenizer, "hello", answer))


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
def test_an_emoji_comes_with_its_last_byte(name: str) -> None:
    tokenizer = BY_BYTES[name]
    pieces = pushed(tokenizer, "a", tokenizer.encode("🙂!", add_special_tokens=False))
    assert pieces[-2:] == ["🙂", "!"]
    assert set(pieces[:-2]) == {""}


def test_a_broken_character_does_not_hold_back_what_follows() -> None:
    tokenizer = BY_BYTES["byte_fallback"]
    first_of_three = tokenizer.encode("日", add_special_tokens=False)[0]
    (letter,) = tokenizer.encode("a", add_special_tokens=False)
    assert pushed(tokenizer, "", [first_of_three, letter, letter]) == ["", "\ufffda", "a"]


@pytest.mark.parametrize("name", ["byte_fallback", "metaspace"])
def test_the_space_before_the_first_word_of_an_answer_is_kept(name: str) -> None:
    tokenizer = BY_BYTES[name]
    (red,) = tokenizer.encode(" red", add_special_tokens=False)[-1:]
    assert pushed(tokenizer, "hello", [red, red]) == [" red", " red"]


def test_word_pieces_are_decoded_with_their_neighbours() -> None:
    tokenizer = ALL["word_pieces"]
    ids = tokenizer.encode("hello redcircle .", add_special_tokens=False)
    assert isinstance(detokenizer(tokenizer, []), WindowDetokenizer)
    assert pushed(tokenizer, "a", ids) == [" hello", " red", "circle", " ."]


@pytest.mark.parametrize("name", BY_BYTES)
def test_tokenizers_of_generative_models_go_by_bytes(name: str) -> None:
    assert isinstance(detokenizer(BY_BYTES[name], []), ByteDetokenizer)
