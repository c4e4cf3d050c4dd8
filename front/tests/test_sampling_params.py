"""vLLM's parameters in the engine's words, and what is refused."""

from typing import Any

import pytest

from inlay import SamplingParams, StructuredOutputsParams


def test_the_defaults_are_those_of_vllm() -> None:
    controls = SamplingParams().controls(seed=5)
    asked = controls.parameters
    assert asked.do_sample and asked.temperature == 1.0 and asked.seed == 5
    assert asked.max_new_tokens == 16 and controls.num_answers == 1 and not controls.is_greedy
    neutral = (asked.top_p, asked.top_k, asked.repetition_penalty, asked.presence_penalty)
    assert neutral == (None,) * 4 and asked.frequency_penalty is None


def test_no_temperature_takes_the_likeliest_token() -> None:
    controls = SamplingParams(temperature=0, top_p=0.5).controls(seed=5)
    assert controls.is_greedy and not controls.parameters.do_sample


def test_an_own_seed_counts() -> None:
    assert SamplingParams(seed=9).controls(seed=5).parameters.seed == 9


def test_best_of_makes_more_than_it_gives() -> None:
    assert SamplingParams(n=2, best_of=3).controls(seed=5).num_answers == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": 0}, "`n` must be at least 1. Given: 0"),
        ({"n": 2, "best_of": 1}, "`best_of` must be >= `n`"),
        ({"n": 2, "temperature": 0}, "`n` must be 1 with a `temperature` of 0"),
        ({"temperature": -1}, "`temperature` must be >= 0. Given: -1"),
        ({"top_p": 0}, "`top_p` must be > 0 and <= 1. Given: 0"),
        ({"top_p": 1.1}, "`top_p` must be > 0 and <= 1"),
        ({"top_k": -2}, "`top_k` must be at least 1, or 0 or -1 for all. Given: -2"),
        ({"max_tokens": 0}, "`max_tokens` must be at least 1"),
        ({"logprobs": 21}, "`logprobs` must be >= 0 and <= 20. Given: 21"),
        ({"min_p": 1.1}, "`min_p` must be >= 0 and <= 1. Given: 1.1"),
        ({"truncate_prompt_tokens": 0}, "`truncate_prompt_tokens` must be at least 1. Given: 0"),
        ({"allowed_token_ids": [1], "grammar": ["a"]}, "cannot be set with a grammar"),
        ({"min_tokens": -1}, "`min_tokens` must be >= 0. Given: -1"),
        ({"min_tokens": 17}, "`min_tokens` must be <= `max_tokens` (16). Given: 17"),
        ({"min_tokens": 3, "stop": "a"}, "`min_tokens` cannot be set together with `stop`"),
        ({"bad_words": ["a", ""]}, "`bad_words` must hold texts, none of them empty"),
        ({"ignore_eos": True, "grammar": ["a"]}, "cannot be set with a grammar"),
        ({"prompt_logprobs": 21}, "`prompt_logprobs` must be >= 0 and <= 20. Given: 21"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        SamplingParams(**given)


def test_what_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="logits_processors"):
        SamplingParams(logits_processors=[])  # type: ignore[call-arg]


def test_a_clone_differs_in_what_is_changed() -> None:
    params = SamplingParams(temperature=0.5, grammar=["a"])
    assert params.clone(temperature=0.7) == SamplingParams(temperature=0.7, grammar=["a"])


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        (StructuredOutputsParams(json={"type": "integer"}), "json"),
        (StructuredOutputsParams(json='{"type": "integer"}'), "json"),
        (StructuredOutputsParams(json_object=True), "json"),
        (StructuredOutputsParams(regex=r"\d"), "regex"),
        (StructuredOutputsParams(choice=["a", "b"]), "choice"),
        (StructuredOutputsParams(grammar='root ::= "a" | "b"'), "grammar"),
    ],
)
def test_structured_outputs_are_grammars(params: StructuredOutputsParams, kind: str) -> None:
    grammar = SamplingParams(structured_outputs=params).controls(0).parameters.grammar
    assert grammar is not None and grammar.type == kind
    older = SamplingParams(guided_decoding=params).controls(0).parameters.grammar
    assert older == grammar


@pytest.mark.parametrize("given", [{}, {"regex": "a", "choice": ["a"]}])
def test_exactly_one_constraint_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one constraint"):
        StructuredOutputsParams(**given)


def test_two_ways_to_say_it_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="cannot both be set"):
        SamplingParams(grammar="a", structured_outputs=StructuredOutputsParams(regex="a"))
