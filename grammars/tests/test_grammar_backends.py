"""Outlines' three backends behind one interface: the same answers, masks and traps."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from random_walks import RandomWalks
from tokenizers import Tokenizer

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.options import BackendName
from inlay_grammars.spec import GrammarError, GrammarKind, GrammarSpec

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "pet": {"enum": ["dog", "😀", None, True, 7]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
NUMBERS = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}}

SPECS: list[tuple[GrammarKind, str, list[str], list[str]]] = [
    (
        "json",
        json.dumps(PERSON),
        ['{"name": "a", "age": 36}', '{"name":"😀é\\n","age":-1,"pet":"😀"}'],
        ['{"name": "a"}', '{"name": "\n", "age": 1}', '{"name": "a", "age": 1.5}', "{"],
    ),
    ("json", json.dumps(NUMBERS), ["[]", "[1, 2.5, null, -3e+2]"], ["[1,]", "[true]", "1"]),
    (
        "json",
        '{"type": "string", "maxLength": 30}',
        ['""', '"é"', '"' + r"\n" * 30 + '"'],
        ['"' + "a" * 31 + '"', '"'],
    ),
    ("regex", r"\d{3}(-\d{4})?", ["555", "555-1234"], ["55", "555-", "٣٣٣"]),
    ("regex", r"[0-9]+(\.[0-9]+)?", ["1", "1.5"], ["1.", ""]),
    ("regex", "(red|green)(, (red|green))*", ["red", "red, green"], ["red,", "blue"]),
    ("regex", "[^a]", ["b", "😀"], ["a", "bb", ""]),
    (
        "choice",
        '["a", "a b", "", "x.y|(z)*\\\\", "a"]',
        ["a", "a b", "", "x.y|(z)*\\"],
        ["a ", "xy"],
    ),
]

Compile: TypeAlias = Callable[[GrammarKind, str], Grammar]

BACKENDS: list[BackendName] = ["llguidance", "outlines_core", "xgrammar"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> BackendName:
    if request.param == "xgrammar":
        pytest.importorskip("xgrammar", reason="the extra inlay[xgrammar] is not installed")
    name: BackendName = request.param
    return name


@pytest.fixture
def compile(compiler: GrammarCompiler, backend: BackendName) -> Compile:
    """By this backend, which must not hand over to another one."""

    def compile(kind: GrammarKind, value: str) -> Grammar:
        grammar = compiler.compile(GrammarSpec(kind, value, backend=backend))
        assert grammar.backend == backend
        return grammar

    return compile


@pytest.fixture
def walks(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> RandomWalks:
    return RandomWalks(tokenizer, vocab_size, eos_token_ids)


def allowed(matcher: Matcher) -> set[int]:
    mask = BatchMask(1, 1003, num_threads=1)
    assert mask.fill({0: matcher}) == {}
    return bits(mask.words[0])


def bits(row: NDArray[np.int32]) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


@pytest.mark.parametrize(("kind", "value", "right", "wrong"), SPECS)
def test_they_accept_and_refuse_the_same_answers(
    compiler: GrammarCompiler,
    backend: BackendName,
    walks: RandomWalks,
    tokenizer: Tokenizer,
    kind: GrammarKind,
    value: str,
    right: list[str],
    wrong: list[str],
) -> None:
    grammar = compiler.compile(GrammarSpec(kind, value, backend=backend))
    for text, is_right in [(t, True) for t in right] + [(t, False) for t in wrong]:
        token_ids = tokenizer.encode(text).ids
        assert walks.accepts(grammar.matcher(), token_ids) is is_right, text


def test_matchers_go_back_and_copies_their_own_way(compile: Compile, tokenizer: Tokenizer) -> None:
    matcher = compile("json", json.dumps(PERSON)).matcher()
    answer = tokenizer.encode('{"name": "ann", "age": 36}').ids
    masks: list[set[int]] = []
    for token_id in answer:
        masks.append(allowed(matcher))
        matcher.consume([token_id])
    assert (matcher.is_accepting, matcher.is_stopped) == (True, True)
    for place in reversed(range(len(answer))):
        matcher.rollback(1)
        assert allowed(matcher) == masks[place]
    matcher.consume(answer[:5])
    twin = matcher.copy()
    twin.consume(answer[5:])
    assert (matcher.is_accepting, twin.is_stopped) == (False, True)
    matcher.rollback(5)
    assert allowed(matcher) == masks[0]
    twin.rollback(len(answer))
    assert allowed(twin) == masks[0]


def test_refused_tokens_change_nothing(
    compile: Compile, tokenizer: Tokenizer, eos_token_ids: list[int]
) -> None:
    matcher = compile("regex", "ab?c").matcher()
    matcher.consume(tokenizer.encode("a").ids)
    before = allowed(matcher)
    a, b, image = (tokenizer.encode(text).ids[0] for text in ("a", "b", "<image>"))
    for token_id in (a, *eos_token_ids, image, 998, 1002, 5_000_000, -1, 2**40):
        with pytest.raises(GrammarError, match="not allowed|out of range"):
            matcher.consume([token_id])
    with pytest.raises(GrammarError, match="after 2 tokens"):
        matcher.consume([b, a])
    assert allowed(matcher) == before
    assert matcher.error is None


def test_every_token_that_a_mask_shows_is_accepted_and_no_other(
    compile: Compile, tokenizer: Tokenizer, eos_token_ids: list[int]
) -> None:
    matcher = compile("json", json.dumps(PERSON)).matcher()
    for text in ("", '{"', 'name": "', "é", '", "age": 1'):
        matcher.consume(tokenizer.encode(text).ids)
        shown = allowed(matcher)
        for token_id in range(1003):
            try:
                matcher.consume([token_id])
            except GrammarError:
                assert token_id not in shown - set(eos_token_ids)
            else:  # llguidance shows of forced text only how the tokenizer would write it
                assert token_id in shown or len(shown) == 1
                matcher.rollback(1)


def test_special_tokens_padding_and_ends_are_where_they_belong(
    compile: Compile, tokenizer: Tokenizer, eos_token_ids: list[int]
) -> None:
    """Three traps: `<image>` as text, ids that do not exist, and end tokens besides the first."""
    image = tokenizer.token_to_id("<image>")
    string = compile("json", '{"type": "string"}').matcher()
    string.consume(tokenizer.encode('"a').ids)
    free = compile("regex", "[^a]*").matcher()
    for matcher, is_complete in ((string, False), (free, True)):
        shown = allowed(matcher)
        assert image not in shown
        assert max(shown) < tokenizer.get_vocab_size()
        assert shown & set(eos_token_ids) == (set(eos_token_ids) if is_complete else set())
    string.consume(tokenizer.encode('"').ids)
    assert allowed(string) == set(eos_token_ids)


def test_tokens_that_are_part_of_a_character_can_be_used(
    compile: Compile, tokenizer: Tokenizer
) -> None:
    text = '"😀"'
    token_ids = tokenizer.encode(text).ids
    assert len(token_ids) > 3
    matcher = compile("json", '{"type": "string"}').matcher()
    matcher.consume(token_ids[:2])
    lone = tokenizer.encode('"').ids[0]
    assert lone not in allowed(matcher)
    matcher.consume(token_ids[2:])
    assert matcher.is_stopped


def own_masks(grammar: Grammar, token_ids: list[int]) -> Iterator[set[int]]:
    """Masks of Outlines' own logits processor of a grammar, for one sequence."""
    import torch

    processor: Any = grammar.processor
    processor.reset()
    is_core = grammar.backend == "outlines_core"
    start = [1024] if is_core else []  # the character before every answer
    width = 1056 if is_core else 1003
    for place in range(len(start + token_ids) + 1):
        ids = np.array([[0, *start, *token_ids][: place + 1]])
        logits = np.zeros((1, width), np.float32)
        if grammar.backend == "xgrammar":
            scores = processor(torch.from_numpy(ids), torch.from_numpy(logits)).numpy()
        else:
            scores = processor(ids, logits)
        if place >= len(start):
            yield set(np.flatnonzero(scores[0] == 0).tolist())


def test_masks_equal_those_of_outlines_own_processors(
    compile: Compile, tokenizer: Tokenizer, eos_token_ids: list[int]
) -> None:
    grammar = compile("json", json.dumps(PERSON))
    token_ids = tokenizer.encode('{"name": "😀 a", "age": 120, "pet": null}').ids
    matcher = grammar.matcher()
    for place, own in enumerate(own_masks(grammar, token_ids)):
        if grammar.backend == "outlines_core":
            ends = {1025, 1026}  # the character behind every answer, and Outlines' end token
            own = (own - ends) | (set(eos_token_ids) if 1025 in own else set())
        assert allowed(matcher) == own
        if place < len(token_ids):
            matcher.consume(token_ids[place : place + 1])


def test_rows_of_all_backends_in_one_batch(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    pytest.importorskip("xgrammar", reason="the extra inlay[xgrammar] is not installed")
    matchers = {
        row: compiler.compile(GrammarSpec("regex", "[ab]+c", backend=name)).matcher()
        for row, name in enumerate(BACKENDS)
    }
    mask = BatchMask(4, 1003)
    assert mask.fill(matchers) == {}
    assert (mask.words[0] == mask.words[1]).all()
    assert (mask.words[0] == mask.words[2]).all()
    assert (mask.words[3] == -1).all()
