"""Masks of a whole batch equal those of Outlines' own processors, row by row."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from outlines.backends.llguidance import LLGuidanceLogitsProcessor
from outlines.processors.base_logits_processor import OutlinesLogitsProcessor
from tokenizers import AddedToken, Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarSpec

SPECS = [
    GrammarSpec("json", '{"properties": {"a": {"type": "integer", "minimum": 3}}}'),
    GrammarSpec("json", '{"type": "array", "items": {"type": "string", "maxLength": 4}}'),
    GrammarSpec("json", '{"type": "object"}'),
    GrammarSpec("json", '{"enum": ["red", "green", 12, null, {"a": [1]}]}'),
    GrammarSpec("regex", r"\d{3}(-\d{4})?"),
    GrammarSpec("regex", r"[^a]+"),
    GrammarSpec("regex", r"(?i)yes|no"),
]


def allowed(mask: BatchMask, row: int) -> set[int]:
    bits = np.unpackbits(mask.words[row].view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def consume(matcher: Matcher, tokenizer: Tokenizer, text: str) -> None:
    matcher.consume(tokenizer.encode(text).ids)


def anew(processor: OutlinesLogitsProcessor) -> OutlinesLogitsProcessor:
    """The same grammar before the first token."""
    assert isinstance(processor, LLGuidanceLogitsProcessor)
    return LLGuidanceLogitsProcessor(processor.grammar, processor.llg_tokenizer, "numpy")


def test_equals_outlines_own_processors_while_rows_join_and_leave(
    compiler: GrammarCompiler, vocab_size: int, eos_token_ids: list[int]
) -> None:
    chance = np.random.default_rng(7)
    mask = BatchMask(len(SPECS), vocab_size, num_threads=1)
    for first in range(3):
        grammars = {row: compiler.compile(SPECS[row]) for row in range(first, len(SPECS))}
        matchers = {row: grammar.matcher() for row, grammar in grammars.items()}
        histories: dict[int, list[int]] = {row: [0] for row in matchers}
        processors = {row: anew(grammar.processor) for row, grammar in grammars.items()}
        for _ in range(30):
            assert mask.fill(matchers) == {}
            for row, matcher in list(matchers.items()):
                logits = np.zeros((1, vocab_size), np.float32)
                processors[row](np.array([histories[row]]), logits)
                expected = set(np.flatnonzero(logits[0] == 0).tolist())
                assert allowed(mask, row) == expected
                token_id = int(chance.choice(sorted(expected)))
                if token_id in eos_token_ids:
                    del matchers[row]
                    continue
                histories[row].append(token_id)
                matcher.consume([token_id])


def test_a_row_without_a_matcher_allows_everything(compiler: GrammarCompiler) -> None:
    mask = BatchMask(3, 1003)
    matcher = compiler.compile(SPECS[0]).matcher()
    mask.fill({0: matcher, 2: matcher.copy()})
    assert (mask.words[1] == -1).all()
    assert (mask.words[2] != -1).any()
    mask.fill({0: matcher})
    assert (mask.words[1:] == -1).all()
    mask.fill({})
    assert (mask.words == -1).all()


def test_tokens_that_do_not_exist_are_never_allowed(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    mask = BatchMask(1, 1003)
    mask.fill({0: compiler.compile(GrammarSpec("regex", r"(.|\n)*")).matcher()})
    assert max(allowed(mask, 0)) < tokenizer.get_vocab_size()
    assert mask.words.shape == (1, 32)


@pytest.mark.parametrize(
    ("regex", "text", "is_complete"),
    [("[0-9]+", "", False), ("[0-9]+", "7", True), ("ab", "a", False), ("ab", "ab", True)],
)
def test_end_tokens_are_allowed_exactly_when_the_answer_is_complete(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    eos_token_ids: list[int],
    regex: str,
    text: str,
    is_complete: bool,
) -> None:
    mask = BatchMask(1, 1003)
    matcher = compiler.compile(GrammarSpec("regex", regex)).matcher()
    consume(matcher, tokenizer, text)
    mask.fill({0: matcher})
    assert matcher.is_accepting is is_complete
    assert allowed(mask, 0) & set(eos_token_ids) == (set(eos_token_ids) if is_complete else set())


def test_end_tokens_that_are_plain_text_or_not_marked_special(tokenizer: Tokenizer) -> None:
    """llguidance alone would allow a plain one inside a string, and the answer would be cut."""
    odd = Tokenizer.from_str(tokenizer.to_str())
    odd.add_tokens([AddedToken("</s>", special=False)])
    ends = set(odd.encode("</s>").ids + odd.encode("z").ids)
    compiler = GrammarCompiler(odd.to_str(), 1003, sorted(ends))
    matcher = compiler.compile(GrammarSpec("json", '{"type": "string"}')).matcher()
    mask = BatchMask(1, 1003)
    consume(matcher, tokenizer, '"a')
    mask.fill({0: matcher})
    assert allowed(mask, 0) & ends == set()
    consume(matcher, tokenizer, '"')
    mask.fill({0: matcher})
    assert allowed(mask, 0) == ends


def test_special_tokens_are_not_allowed_inside_strings(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    mask = BatchMask(2, 1003)
    string = compiler.compile(GrammarSpec("json", '{"type": "string"}')).matcher()
    consume(string, tokenizer, '"a')
    mask.fill({0: string, 1: compiler.compile(GrammarSpec("regex", ".+")).matcher()})
    specials = {tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|im_end|>", "<image>")}
    assert not specials & (allowed(mask, 0) | allowed(mask, 1))


def test_whitespace_between_json_tokens_is_bounded(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("json", SPECS[0].value)).matcher()
    consume(matcher, tokenizer, "{" + "\n" * 8)
    mask = BatchMask(1, 1003)
    mask.fill({0: matcher})
    blanks = {i for t in (" ", "\n", "\t", "\r") for i in tokenizer.encode(t).ids}
    assert not blanks & allowed(mask, 0)
    assert allowed(mask, 0)


def test_writes_into_the_memory_it_is_given(compiler: GrammarCompiler) -> None:
    words: NDArray[np.int32] = np.zeros((2, 32), np.int32)
    mask = BatchMask(2, 1003, words=words)
    assert (words == -1).all()
    mask.fill({1: compiler.compile(SPECS[0]).matcher()})
    assert (words[1] != -1).any()


def test_memory_of_another_shape_is_refused() -> None:
    for words in (np.zeros((2, 31), np.int32), np.zeros((2, 64), np.int32)[:, ::2]):
        with pytest.raises(ValueError, match="words must be"):
            BatchMask(2, 1003, words=words)


def test_names_the_rows_in_error_and_fills_the_others(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    bomb = compiler.compile(GrammarSpec("regex", "(a{1,1000}){1,1000}")).matcher()
    neighbour = compiler.compile(SPECS[4]).matcher()
    mask = BatchMask(2, 1003)
    mask.fill({1: neighbour})
    alone = mask.words[1].copy()
    errors: dict[int, str] = {}
    while not errors:
        errors = mask.fill({0: bomb, 1: neighbour})
        assert (mask.words[1] == alone).all()
        if not errors:
            consume(bomb, tokenizer, "a")
    assert list(errors) == [0]


def test_the_schema_of_tgis_documentation_is_enforced(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    schema = {
        "properties": {
            "location": {"title": "Location", "type": "string"},
            "activity": {"title": "Activity", "type": "string"},
            "animals_seen": {
                "maximum": 5,
                "minimum": 1,
                "title": "Animals Seen",
                "type": "integer",
            },
            "animals": {"items": {"type": "string"}, "title": "Animals", "type": "array"},
        },
        "required": ["location", "activity", "animals_seen", "animals"],
        "title": "Animals",
        "type": "object",
    }
    for text in (schema, {k: v for k, v in schema.items() if k != "type"}):
        matcher = compiler.compile(GrammarSpec("json", json.dumps(text))).matcher()
        consume(matcher, tokenizer, '{"location": "Paris", "activity": "walk", "animals_seen": ')
        mask = BatchMask(1, 1003)
        mask.fill({0: matcher})
        digits = {d for d in "0123456789" if tokenizer.token_to_id(d) in allowed(mask, 0)}
        assert digits == set("12345")
