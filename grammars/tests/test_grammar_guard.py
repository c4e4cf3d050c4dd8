"""Whatever a model chooses, an answer ends within its budget and is valid.

A long look: `make test ARGS="grammars --hypothesis-profile=long"`.
"""

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from random_faults import judge_of
from random_schemas import random_schema
from tokenizers import Tokenizer

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarSpec

VOCAB_SIZE = 1003


@pytest.fixture(scope="module")
def finishing(compiler: GrammarCompiler) -> Finishing:
    return Finishing(compiler.tokens)


class Model:
    """Chooses any allowed token, long ones more often than not; an end token now and then."""

    def __init__(self, tokenizer: Tokenizer, eos_token_ids: list[int], chance: Random) -> None:
        self._tokenizer = tokenizer
        self._eos_token_ids = eos_token_ids
        self._chance = chance
        self._mask = BatchMask(1, VOCAB_SIZE, num_threads=1)

    def choose(self, matcher: Matcher) -> int | None:
        """A token; None for an end token."""
        assert self._mask.fill({0: matcher}) == {}
        bits = np.unpackbits(self._mask.words[0].view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits).tolist()
        some = self._chance.choices(allowed, k=3)
        token_id = max(some, key=lambda token_id: len(self._tokenizer.id_to_token(token_id) or ""))
        return None if token_id in self._eos_token_ids else int(token_id)


def answer(
    model: Model, grammar: Grammar, finishing: Finishing, plan: tuple[int, ...], budget: int
) -> tuple[list[int], Matcher]:
    """What comes of a budget, and where the grammar stands behind it.

    A guard that follows what was taken knows at any time what the one knows that took it.
    """
    matcher, guard = grammar.matcher(), finishing.guard(grammar, plan)
    again, replayed = grammar.matcher(), finishing.guard(grammar, plan)
    token_ids: list[int] = []
    while len(token_ids) < budget and not matcher.is_stopped:
        chosen = model.choose(matcher)
        if chosen is None:
            break
        taken = guard.take(matcher, chosen, budget - len(token_ids))
        if taken is None:
            break
        token_ids.append(taken)
        replayed.follow(again, taken, budget - len(token_ids) + 1)
        assert repr(replayed) == repr(guard)
    return token_ids, matcher


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_every_answer_ends_in_time_and_is_valid(
    compiler: GrammarCompiler,
    finishing: Finishing,
    tokenizer: Tokenizer,
    eos_token_ids: list[int],
    chance: Random,
) -> None:
    schema = random_schema(chance).schema
    note(json.dumps(schema))
    grammar = compiler.compile(GrammarSpec("json", json.dumps(schema)))
    plan = finishing.first_plan(grammar)
    assert plan is not None
    model = Model(tokenizer, eos_token_ids, chance)
    for budget in {len(plan), len(plan) + 1, len(plan) + 8, 60} - {0}:
        if budget < len(plan):
            continue
        token_ids, matcher = answer(model, grammar, finishing, plan, budget)
        text = tokenizer.decode(token_ids, skip_special_tokens=False)
        note(f"{budget}: {text}")
        assert len(token_ids) <= budget
        assert matcher.is_accepting
        judge_of(schema).validate(json.loads(text))


@pytest.mark.parametrize("pattern", ["[a-z]+@[a-z]+[.]com", ".*foo", "(ab|cd){3,9}", "[0-9]{4,}"])
@pytest.mark.parametrize("seed", range(8))
def test_regexes_end_in_time(
    compiler: GrammarCompiler,
    finishing: Finishing,
    tokenizer: Tokenizer,
    eos_token_ids: list[int],
    pattern: str,
    seed: int,
) -> None:
    grammar = compiler.compile(GrammarSpec("regex", pattern))
    plan = finishing.first_plan(grammar)
    assert plan is not None
    model = Model(tokenizer, eos_token_ids, Random(seed))
    _, matcher = answer(model, grammar, finishing, plan, len(plan) + seed)
    assert matcher.is_accepting


def test_far_from_the_end_nothing_is_searched(
    compiler: GrammarCompiler, finishing: Finishing, tokenizer: Tokenizer
) -> None:
    """A plan that no longer leads to the end is found anew when the end comes near."""
    grammar = compiler.compile(GrammarSpec("json", '{"type": "array"}'))
    guard, matcher = finishing.guard(grammar, (0, 0)), grammar.matcher()
    (opening,) = tokenizer.encode("[").ids
    for num_left in range(3000, 2990, -1):
        assert guard.take(matcher, opening, num_left) == opening
    assert repr(guard) == "<Guard without a plan>"
    assert guard.take(matcher, opening, 30) == opening
    assert repr(guard) == "<Guard 11 to go>"
    (closing,) = tokenizer.encode("]").ids
    assert guard.take(matcher, opening, 11) == closing


def test_a_complete_answer_that_cannot_go_on_in_time_ends(
    compiler: GrammarCompiler, finishing: Finishing, tokenizer: Tokenizer
) -> None:
    grammar = compiler.compile(GrammarSpec("regex", "a(bbbbbb)?"))
    guard, matcher = finishing.guard(grammar, tuple(tokenizer.encode("a").ids)), grammar.matcher()
    (a,), (b,) = (tokenizer.encode(letter).ids for letter in "ab")
    assert guard.take(matcher, a, 3) == a
    assert guard.take(matcher, b, 2) is None
    assert matcher.is_accepting


@pytest.mark.parametrize("seed", range(6))
def test_a_call_within_free_text_ends_in_time(
    compiler: GrammarCompiler,
    finishing: Finishing,
    tokenizer: Tokenizer,
    eos_token_ids: list[int],
    seed: int,
) -> None:
    """Text needs nothing to be complete; a call that was begun does."""
    schema = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'
    lark = f'start: TEXT | TEXT "<call>" %json {schema} "</call>"\nTEXT: /[^<]*/\n'
    grammar = compiler.compile(GrammarSpec("lark", lark))
    assert finishing.first_plan(grammar) == ()
    guard, matcher = finishing.guard(grammar, ()), grammar.matcher()
    budget = 40 + seed
    for token_id in tokenizer.encode('so <call>{"a').ids:
        assert guard.take(matcher, token_id, budget) == token_id
        budget -= 1
    model = Model(tokenizer, eos_token_ids, Random(seed))
    while budget and not matcher.is_stopped:
        chosen = model.choose(matcher)
        if chosen is None or guard.take(matcher, chosen, budget) is None:
            break
        budget -= 1
    assert matcher.is_accepting
