"""Tokens that a grammar forces take no step of their own, and change nothing."""

import json
import random
from typing import Any

import pytest
import torch
from driver import BLOCK_SIZE, Driver, Running
from local_shard import Shard, start_shard
from tiny_models import make_tiny
from tokenizers import Tokenizer
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb

PROMPT = list(range(30, 50))
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "customer_name": {"type": "string", "maxLength": 6},
            "is_member": {"type": "boolean"},
            "status": {"enum": ["waiting for payment", "waiting for delivery", "done"]},
        },
        "required": ["customer_name", "is_member", "status"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"const": {"constant": [1, 2, 3]}}, "minItems": 2, "maxItems": 3},
]
FORCING = pb.Forcing(max_tokens=8)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    return start_shard(make_tiny("llama", tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture(autouse=True)
def _empty(shard: Shard) -> None:
    shard.ready.engine.reset()


def constrained(schema: dict[str, Any], **others: Any) -> dict[str, Any]:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_JSON, value=json.dumps(schema))
    return {"grammar": grammar} | others


def drawn(seed: int) -> pb.Sampling:
    return pb.Sampling(do_sample=True, temperature=1.2, repetition_penalty=1.1, seed=seed)


def a_crowd(driver: Driver, **others: Any) -> list[Running]:
    """Greedy and drawn answers in every grammar, and one in none."""
    crowd = [
        driver.add(PROMPT, 150, **constrained(schema, sampling=sampling, **others))
        for schema in SCHEMAS
        for sampling in (pb.Sampling(), drawn(1), drawn(2))
    ]
    return [*crowd, driver.add(PROMPT, 40)]


def same(one: Running, other: Running) -> None:
    """To the last token, and in all that was reported beside them."""
    assert one.output_ids == other.output_ids
    assert one.ending == other.ending
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert [t for t, _ in one.top_tokens] == [t for t, _ in other.top_tokens]


def num_forced(driver: Driver) -> int:
    return sum(sum(result.num_forced) for result in driver.results)


@pytest.mark.parametrize("num_ahead", [0, 5, 3 * BLOCK_SIZE])
@pytest.mark.parametrize("num_spare_slots", [0, 1])
def test_answers_are_the_same_in_fewer_steps(
    shard: Shard, num_ahead: int, num_spare_slots: int
) -> None:
    """With blocks that have room for hardly any of them, and for all."""
    forcing = pb.Forcing(max_tokens=8, num_spare_slots=num_spare_slots)
    plain, hasty = Driver(shard, num_ahead=num_ahead), Driver(shard, num_ahead=num_ahead)
    without = a_crowd(plain, top_n_tokens=2)
    plain.run()
    shard.ready.engine.reset()
    crowd = a_crowd(hasty, top_n_tokens=2, forcing=forcing)
    hasty.run()
    for one, other in zip(crowd, without, strict=True):
        same(one, other)
    assert num_forced(plain) == 0
    assert num_forced(hasty) > 50
    alone = Driver(shard, num_ahead=num_ahead)
    running = alone.add(PROMPT, 150, **constrained(SCHEMAS[0], forcing=forcing))
    alone.run()
    assert running.output_ids == without[0].output_ids
    assert len(alone.results) <= len(running.output_ids) - num_forced(alone)


def test_what_the_model_makes_of_each_token_is_what_a_plain_forward_makes(shard: Shard) -> None:
    """So the keys and values of forced tokens are those of their places."""
    driver, model = Driver(shard, num_ahead=BLOCK_SIZE), Reference(shard.folder).model
    crowd = a_crowd(driver, forcing=FORCING)
    driver.run()
    assert num_forced(driver) > 50
    for running in crowd:
        text = [*PROMPT, *running.output_ids]
        with torch.inference_mode():
            logprobs = model(torch.tensor([text])).logits[0].log_softmax(-1)
        num_told = len(running.output_ids) - 1  # the last was added by the grammar
        expected = [
            float(logprobs[place - 1, text[place]])
            for place in range(len(PROMPT), len(PROMPT) + num_told)
        ]
        assert running.logprobs[:num_told] == pytest.approx(expected, abs=1e-3)


def test_an_answer_goes_on_elsewhere_in_the_same_way(shard: Shard) -> None:
    """A sequence that leaves while forced tokens are under way finds them again."""
    chance = random.Random(0)
    for schema in SCHEMAS:
        driver = Driver(shard, num_ahead=BLOCK_SIZE)
        fields = constrained(schema, forcing=FORCING, sampling=drawn(3))
        alone, disturbed = (driver.add(PROMPT, 150, **fields) for _ in range(2))
        while not disturbed.is_over:
            driver.step()
            if not disturbed.is_over and chance.random() < 0.5:
                driver.preempt(disturbed)
        driver.run()
        assert num_forced(driver) > 10
        same(disturbed, alone)


@pytest.mark.parametrize("num_left", range(12))
def test_budgets_that_end_within_a_run(shard: Shard, num_left: int) -> None:
    plain, hasty = Driver(shard), Driver(shard, num_ahead=BLOCK_SIZE)
    budget = 2 + num_left
    without = plain.add(PROMPT, budget, **constrained(SCHEMAS[1]))
    plain.run()
    running = hasty.add(PROMPT, budget, **constrained(SCHEMAS[1], forcing=FORCING))
    hasty.run()
    same(running, without)
    assert len(running.output_ids) == budget


def test_guarded_answers_are_the_same(shard: Shard) -> None:
    """In budgets that are tight, and in ones that are not."""
    tokenizer = Tokenizer.from_str(shard.facts.tokenizer_json)
    plan = tokenizer.encode(json.dumps([{"constant": [1, 2, 3]}] * 2, separators=(",", ":"))).ids
    for budget in (len(plan), len(plan) + 3, len(plan) + 40):
        drivers = Driver(shard), Driver(shard, num_ahead=BLOCK_SIZE)
        both = [
            driver.add(
                PROMPT,
                budget,
                **constrained(
                    SCHEMAS[1],
                    finishing=pb.Finishing(first_plan=plan),
                    sampling=drawn(5),
                    forcing=forcing,
                ),
            )
            for driver, forcing in zip(drivers, (None, FORCING), strict=True)
        ]
        for driver in drivers:
            shard.ready.engine.reset()
            driver.run()
        same(both[1], both[0])
        assert both[1].has_shortened == both[0].has_shortened
        assert both[1].ending == pb.END_REASON_EOS_TOKEN
        assert num_forced(drivers[1]) > 5


def test_an_endless_run_is_taken_in_pieces(shard: Shard) -> None:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="(ab){200}")
    driver = Driver(shard, num_ahead=BLOCK_SIZE)
    running = driver.add(PROMPT, 60, grammar=grammar, forcing=pb.Forcing(max_tokens=5))
    driver.run()
    assert len(running.output_ids) == 60
    assert max(max(result.num_forced, default=0) for result in driver.results) == 5
    assert len(driver.results) <= 60 / 5 + 2


def test_a_step_is_made_at_most_twice_as_long(shard: Shard) -> None:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="a{200}")
    driver = Driver(shard, num_ahead=BLOCK_SIZE)
    for _ in range(20):
        driver.add(PROMPT, 40, grammar=grammar, forcing=FORCING)
    driver.run()
    assert max(sum(result.num_forced) for result in driver.results) == 20


def test_a_shard_that_is_not_asked_forces_nothing(shard: Shard) -> None:
    driver = Driver(shard, num_ahead=BLOCK_SIZE)
    driver.add(PROMPT, 40, **constrained(SCHEMAS[1]))
    driver.run()
    assert num_forced(driver) == 0
