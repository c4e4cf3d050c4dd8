"""Answers under a grammar end within their budget, whatever the model wants."""

import json
import random
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from driver import Driver, Running
from local_shard import Shard, start_shard
from tiny_models import make_tiny
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.spec import GrammarSpec
from inlay_proto import generate_pb2 as pb

PROMPT = list(range(30, 50))
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer", "minimum": 10},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "required": ["name", "count", "tags"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 12}]},
    {"enum": ["red", "yellow", {"a": [1, 2]}]},
]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    return start_shard(make_tiny("llama", tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture(scope="module")
def tokenizer(shard: Shard) -> Tokenizer:
    return Tokenizer.from_str(shard.facts.tokenizer_json)


@pytest.fixture(scope="module")
def plans(shard: Shard) -> list[tuple[int, ...]]:
    """The first plan of each schema."""
    facts = shard.facts
    compiler = GrammarCompiler(facts.tokenizer_json, facts.vocab_size, facts.eos_token_ids)
    finishing = Finishing(compiler.tokens)
    specs = [GrammarSpec("json", json.dumps(schema)) for schema in SCHEMAS]
    found = [finishing.first_plan(compiler.compile(spec)) for spec in specs]
    assert all(found)
    return [plan or () for plan in found]


def constrained(
    schema: dict[str, Any], plan: Sequence[int] | None, **others: Any
) -> dict[str, Any]:
    """Fields of a sequence; unguarded without a plan."""
    grammar = pb.Grammar(kind=pb.Grammar.KIND_JSON, value=json.dumps(schema))
    finishing = None if plan is None else pb.Finishing(first_plan=plan)
    return {"grammar": grammar, "finishing": finishing} | others


def drawn(seed: int) -> pb.Sampling:
    return pb.Sampling(do_sample=True, temperature=1.5, seed=seed)


def text_of(running: Running, tokenizer: Tokenizer) -> str:
    return tokenizer.decode(running.output_ids, skip_special_tokens=True)


def is_valid(text: str, schema: dict[str, Any]) -> bool:
    try:
        jsonschema.validate(json.loads(text), schema)
    except (json.JSONDecodeError, jsonschema.ValidationError):
        return False
    return True


@pytest.mark.parametrize("room", [0, 1, 8])
def test_every_answer_is_complete_and_valid(
    shard: Shard, tokenizer: Tokenizer, plans: list[tuple[int, ...]], room: int
) -> None:
    """A random model, greedy and drawn, in one crowd with answers that nobody guards."""
    shard.ready.engine.reset()
    driver = Driver(shard)
    guarded: list[tuple[Running, dict[str, Any]]] = []
    free: list[tuple[Running, dict[str, Any]]] = []
    for schema, plan in zip(SCHEMAS, plans, strict=True):
        for sampling in [pb.Sampling(), drawn(1), drawn(2), drawn(3)]:
            budget = len(plan) + room
            fields = constrained(schema, plan, sampling=sampling)
            guarded.append((driver.add(PROMPT, budget, **fields), schema))
            fields = constrained(schema, None, sampling=sampling)
            free.append((driver.add(PROMPT, budget, **fields), schema))
    driver.run()
    for running, schema in guarded:
        assert running.failure is None
        assert len(running.output_ids) <= running.message.max_new_tokens
        assert is_valid(text_of(running, tokenizer), schema), running
        assert running.ending == pb.END_REASON_EOS_TOKEN or not running.has_shortened
        assert len(running.logprobs) == len(running.output_ids)
        assert all(logprob <= 0.0 for logprob in running.logprobs)
    assert any(running.has_shortened for running, _ in guarded)
    assert not all(is_valid(text_of(running, tokenizer), schema) for running, schema in free)
    assert not any(running.has_shortened for running, _ in free)


def test_an_ample_budget_changes_nothing(shard: Shard, plans: list[tuple[int, ...]]) -> None:
    shard.ready.engine.reset()
    driver = Driver(shard)
    pairs = [
        [driver.add(PROMPT, 400, **constrained(schema, given)) for given in (plan, None)]
        for schema, plan in zip(SCHEMAS[2:], plans[2:], strict=True)
    ]
    driver.run()
    for guarded, free in pairs:
        assert not guarded.has_shortened
        assert guarded.output_ids == free.output_ids


def test_an_answer_goes_on_elsewhere_in_the_same_way(
    shard: Shard, plans: list[tuple[int, ...]]
) -> None:
    """A sequence that joins anew, with its tokens so far, ends as one that was never disturbed."""
    shard.ready.engine.reset()
    chance = random.Random(0)
    for schema, plan in zip(SCHEMAS, plans, strict=True):
        driver = Driver(shard)
        fields = constrained(schema, plan, sampling=drawn(7))
        alone, disturbed = (driver.add(PROMPT, len(plan) + 4, **fields) for _ in range(2))
        while not disturbed.is_over:
            driver.step()
            if not disturbed.is_over and chance.random() < 0.5:
                driver.preempt(disturbed)
        driver.run()
        assert disturbed.output_ids == alone.output_ids
        assert disturbed.ending == alone.ending
        assert disturbed.has_shortened == alone.has_shortened


def test_text_that_could_go_on_says_that_it_was_cut_off(shard: Shard) -> None:
    """It is complete as it stands, and nothing was changed in it: the model had more to say."""
    shard.ready.engine.reset()
    driver = Driver(shard)
    fields: dict[str, Any] = {
        "grammar": pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[a-z]*"),
        "finishing": pb.Finishing(),
        "sampling": pb.Sampling(biased_token_ids=[1], token_biases=[-100.0]),
    }
    running = driver.add(PROMPT, 6, **fields)
    driver.run()
    assert len(running.output_ids) == 6
    assert running.ending == pb.END_REASON_LENGTH
    assert not running.has_shortened
