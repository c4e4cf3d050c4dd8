"""Generated schemas: what is valid can be written, what can be written is valid.

A long look: `make test ARGS="grammars --hypothesis-profile=long"`.
"""

import json
from random import Random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from random_faults import judge_of, spoiled
from random_schemas import random_schema
from random_sorts import Sort
from random_walks import RandomWalks
from tokenizers import Tokenizer

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.spec import GrammarSpec

MAX_TOKENS = 150


@pytest.fixture(scope="session")
def walks(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> RandomWalks:
    return RandomWalks(tokenizer, vocab_size, eos_token_ids)


def written(value: object, chance: Random) -> str:
    """JSON with some of the whitespace that people and models write."""
    separators = chance.choice([(",", ":"), (", ", ": "), (" ,\n", " : ")])
    return json.dumps(value, ensure_ascii=False, separators=separators)


def drawn(compiler: GrammarCompiler, chance: Random) -> tuple[Sort, Grammar]:
    """A random schema, compiled."""
    sort = random_schema(chance)
    text = json.dumps(sort.schema)
    note(text)
    return sort, compiler.compile(GrammarSpec("json", text))


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_valid_values_are_allowed_in_any_tokens(
    compiler: GrammarCompiler, walks: RandomWalks, chance: Random
) -> None:
    sort, grammar = drawn(compiler, chance)
    for _ in range(3):
        text = written(sort.make(chance), chance)
        note(text)
        judge_of(sort.schema).validate(json.loads(text))
        assert walks.accepts(grammar.matcher(), walks.tokenizer.encode(text).ids)
        assert walks.accepts(grammar.matcher(), walks.random_tokens(text, chance))


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_invalid_values_are_refused(
    compiler: GrammarCompiler, walks: RandomWalks, chance: Random
) -> None:
    sort, grammar = drawn(compiler, chance)
    for value in spoiled(judge_of(sort.schema), sort.make(chance), chance):
        text = written(value, chance)
        note(text)
        assert not walks.accepts(grammar.matcher(), walks.tokenizer.encode(text).ids)


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_every_random_answer_that_ends_is_valid(
    compiler: GrammarCompiler, walks: RandomWalks, chance: Random
) -> None:
    sort, grammar = drawn(compiler, chance)
    for _ in range(3):
        answer = walks.answer(grammar.matcher(), chance, MAX_TOKENS)
        if answer is not None:
            note(answer)
            judge_of(sort.schema).validate(json.loads(answer))
