"""Forced tokens are those that masks would allow alone, one after the other."""

import json
from random import Random
from typing import Any

import numpy as np
import pytest
from random_schemas import random_schema
from tokenizers import Tokenizer

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.forced import ForcedTokens
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.options import BackendChoice
from inlay_grammars.spec import GrammarSpec

FIXED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shipping_address": {"const": "the quick brown fox"},
        "ünïcode 🚀": {"enum": ["日本語 一", "日本語 二"]},
    },
    "required": ["shipping_address", "ünïcode 🚀"],
    "additionalProperties": False,
}


def schemas() -> list[dict[str, Any]]:
    chance = Random(1)
    return [FIXED, *(random_schema(chance).schema for _ in range(40))]


def allowed(matcher: Matcher, vocab_size: int) -> list[int]:
    mask = BatchMask(1, vocab_size)
    assert not mask.fill({0: matcher})
    bits = np.unpackbits(mask.words[0].view(np.uint8), bitorder="little")
    return [int(token_id) for token_id in np.flatnonzero(bits)]


def compiled(
    compiler: GrammarCompiler, schema: dict[str, Any], backend: BackendChoice = "auto"
) -> Grammar:
    return compiler.compile(GrammarSpec("json", json.dumps(schema), backend=backend))


def test_each_is_the_only_one_that_a_mask_allows(
    compiler: GrammarCompiler, vocab_size: int, eos_token_ids: list[int]
) -> None:
    """Also within a run that was named at its beginning, and where it is asked now and then."""
    chance = Random(2)
    num_forced = 0
    for schema in schemas():
        matcher, forced = compiled(compiler, schema).matcher(), ForcedTokens()
        for _ in range(60):
            choices = [i for i in allowed(matcher, vocab_size) if i not in eos_token_ids]
            if not choices:
                break
            token_id = forced.next(matcher) if chance.random() < 0.8 else None
            if token_id is not None:
                num_forced += 1
                assert choices == [token_id]
                assert not matcher.is_accepting
            taken = chance.choice(choices)
            matcher.consume([taken])
            forced.follow(taken)
    assert num_forced > 100


def test_the_last_token_of_an_answer_is_left_to_be_chosen(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("regex", "the quick brown")).matcher()
    forced, taken = ForcedTokens(), []
    while (token_id := forced.next(matcher)) is not None:
        matcher.consume([token_id])
        forced.follow(token_id)
        taken.append(token_id)
    assert taken == tokenizer.encode("the quick brown").ids[:-1]
    assert not matcher.is_stopped
    assert allowed(matcher, 1003) == tokenizer.encode("the quick brown").ids[-1:]


def test_a_run_is_named_once(compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grammar that forces thousands of tokens takes milliseconds to say so."""
    matcher = compiler.compile(GrammarSpec("regex", "a{2000}")).matcher()
    calls: list[Matcher] = []
    name = Matcher.forced_tokens

    def counting(own: Matcher) -> list[int]:
        calls.append(own)
        return name(own)

    monkeypatch.setattr(Matcher, "forced_tokens", counting)
    forced = ForcedTokens()
    for _ in range(50):
        token_id = forced.next(matcher)
        assert token_id is not None
        matcher.consume([token_id])
        forced.follow(token_id)
    assert len(calls) == 1


def test_another_token_than_the_forced_one_ends_the_run(compiler: GrammarCompiler) -> None:
    matcher = compiler.compile(GrammarSpec("regex", "the quick brown")).matcher()
    forced = ForcedTokens()
    assert forced.next(matcher) is not None
    matcher.consume(compiler.tokens.tokenizer.encode("t").ids)
    forced.follow(compiler.tokens.tokenizer.encode("t").ids[0])
    assert repr(forced) == "<ForcedTokens []>"
    assert forced.next(matcher) is not None


@pytest.mark.parametrize("backend", ["xgrammar", "outlines_core"])
def test_nothing_is_forced_where_masks_allow_other_spellings(
    compiler: GrammarCompiler, backend: BackendChoice
) -> None:
    if backend == "xgrammar":
        pytest.importorskip("xgrammar")
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    grammar = compiled(compiler, schema | {"additionalProperties": False}, backend)
    assert grammar.backend == backend
    assert ForcedTokens().next(grammar.matcher()) is None


def test_a_guard_takes_what_it_is_sure_of(compiler: GrammarCompiler) -> None:
    """In whatever budget, at each place of random answers."""
    chance, num_sure = Random(3), 0
    finishing = Finishing(compiler.tokens)
    for schema in schemas()[:12]:
        grammar = compiled(compiler, schema)
        plan = finishing.first_plan(grammar)
        if plan is None:
            continue
        for num_left in (len(plan), len(plan) + 9, 3000):
            matcher, guard = grammar.matcher(), finishing.guard(grammar, plan)
            while num_left and not matcher.is_stopped:
                choices = [i for i in allowed(matcher, 1003) if i > 2]
                if not choices:
                    break
                token_id = chance.choice(choices)
                is_sure = guard.is_sure_of(token_id, num_left)
                num_sure += is_sure
                taken = guard.take(matcher, token_id, num_left)
                assert taken == token_id or not is_sure
                if taken is None or num_left < 2900 and num_left > 200:
                    break
                num_left -= 1
    assert num_sure > 100
