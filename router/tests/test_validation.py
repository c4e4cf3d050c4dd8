"""Every range of every parameter, with TGI's sentence."""

import json
from typing import Any

import pytest

from inlay_router.api.body import parse
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GenerateBody
from inlay_router.validation import ValidParameters, fit_answer, validate

LIMITS = Limits(max_input_tokens=100, max_total_tokens=120, vocab_size=500, takes_images=True)


def check(
    body: dict[str, Any], *, is_streaming: bool = False, limits: Limits = LIMITS
) -> ValidParameters:
    parsed = parse(json.dumps(body).encode(), GenerateBody)
    return validate(parsed, limits, is_streaming=is_streaming)


def refusal(parameters: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        check({"inputs": "x", "parameters": parameters}, **options)
    words = str(caught.value)
    assert words.startswith("Input validation error: ")
    return words.removeprefix("Input validation error: ")


SENTENCES = [
    ({"best_of": 3}, "`best_of` must be > 0 and <= 2. Given: 3"),
    ({"best_of": 0}, "`best_of` must be > 0 and <= 2. Given: 0"),
    ({"best_of": 2}, "you must use sampling when `best_of` is > 1"),
    ({"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set when `best_of` > 1"),
    ({"temperature": 0}, "`temperature` must be strictly positive. Given: 0.0"),
    ({"temperature": -0.1}, "`temperature` must be strictly positive. Given: -0.1"),
    ({"temperature": 1e-60}, "`temperature` must be strictly positive. Given: 1e-60"),
    ({"temperature": 1e39}, "`temperature` must fit a 32-bit float. Given: 1e+39"),
    ({"repetition_penalty": 0.0}, "`repetition_penalty` must be strictly positive. Given: 0.0"),
    ({"frequency_penalty": -2.01}, "`frequency_penalty` must be >= -2.0 and <= 2.0. Given: -2.01"),
    ({"frequency_penalty": 2.01}, "`frequency_penalty` must be >= -2.0 and <= 2.0. Given: 2.01"),
    (
        {"frequency_penalty": -1e300},
        "`frequency_penalty` must be >= -2.0 and <= 2.0. Given: -1e+300",
    ),
    ({"presence_penalty": 2.01}, "`presence_penalty` must be >= -2.0 and <= 2.0. Given: 2.01"),
    ({"logit_bias": {"1": 101}}, "`logit_bias` must be >= -100 and <= 100. Given: 101.0"),
    (
        {"logit_bias": {"500": 1}},
        "`logit_bias` must name token ids >= 0 and < 500. Given: 500",
    ),
    (
        {"logit_bias": {str(token_id): 1 for token_id in range(301)}},
        "`logit_bias` supports up to 300 tokens. Given: 301",
    ),
    ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0. Given: 1.0"),
    ({"top_p": 0}, "`top_p` must be > 0.0 and < 1.0. Given: 0.0"),
    ({"top_p": 0.999999999999}, "`top_p` must be > 0.0 and < 1.0. Given: 0.999999999999"),
    ({"typical_p": 1}, "`typical_p` must be > 0.0 and < 1.0. Given: 1.0"),
    ({"min_p": 1.5}, "`min_p` must be >= 0.0 and <= 1.0. Given: 1.5"),
    ({"top_k": 0}, "`top_k` must be strictly positive. Given: 0"),
    ({"top_k": 2**31}, "`top_k` must be < 2147483648. Given: 2147483648"),
    ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive. Given: 0"),
    ({"max_new_tokens": -5}, "`max_new_tokens` must be strictly positive. Given: -5"),
    ({"stop": ["a"] * 5}, "`stop` supports up to 4 stop sequences. Given: 5"),
    ({"stop": ["a", ""]}, "`stop` cannot hold an empty string"),
    ({"seed": -1}, "`seed` must be >= 0 and < 2**64. Given: -1"),
    ({"seed": 2**64}, f"`seed` must be >= 0 and < 2**64. Given: {2**64}"),
    ({"top_n_tokens": 6}, "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
    ({"top_n_tokens": -1}, "`top_n_tokens` must be >= 0 and <= 5. Given: -1"),
    ({"truncate": 0}, "`truncate` must be strictly positive and less than 100. Given: 0"),
    ({"truncate": 101}, "`truncate` must be strictly positive and less than 100. Given: 101"),
    ({"adapter_id": "a"}, "`adapter_id` must be null: this server has no adapters"),
]


@pytest.mark.parametrize(("parameters", "sentence"), SENTENCES)
@pytest.mark.parametrize("is_streaming", [False, True])
def test_what_is_out_of_range_is_refused(
    parameters: dict[str, Any], sentence: str, is_streaming: bool
) -> None:
    if is_streaming and "best_of" in parameters:
        sentence = "`best_of` != 1 is not supported when streaming tokens"
    assert refusal(parameters, is_streaming=is_streaming) == sentence


def test_a_stream_has_no_prompt_details() -> None:
    assert refusal({"decoder_input_details": True}, is_streaming=True) == (
        "`decoder_input_details` == true is not supported when streaming tokens"
    )


def test_a_server_may_allow_one_answer_only() -> None:
    limits = Limits(max_input_tokens=1, max_total_tokens=2, max_best_of=1)
    sentence = "`best_of` != 1 is not allowed for this endpoint"
    assert refusal({"best_of": 2, "do_sample": True}, limits=limits) == sentence


@pytest.mark.parametrize("is_streaming", [False, True])
def test_an_empty_prompt_is_refused(is_streaming: bool) -> None:
    with pytest.raises(ValidationError, match="`inputs` cannot be empty"):
        check({"inputs": ""}, is_streaming=is_streaming)


def test_the_first_fault_in_tgis_order_is_told() -> None:
    names = [
        "temperature",
        "repetition_penalty",
        "frequency_penalty",
        "top_p",
        "typical_p",
        "top_k",
        "max_new_tokens",
        "stop",
        "seed",
        "top_n_tokens",
        "truncate",
    ]
    wrong = {
        "temperature": 0,
        "repetition_penalty": 0,
        "frequency_penalty": 3,
        "top_p": 2,
        "typical_p": 2,
        "top_k": 0,
        "max_new_tokens": 0,
        "stop": [""],
        "seed": -1,
        "top_n_tokens": -1,
        "truncate": 0,
    }
    for at, name in enumerate(names):
        rest = {key: wrong[key] for key in names[at:]}
        assert f"`{name}`" in refusal(rest)


LIMIT_VALUES = {
    "best_of": 2,
    "temperature": 1e-30,
    "repetition_penalty": 1e30,
    "frequency_penalty": -2.0,
    "top_p": 0.9999,
    "typical_p": 1e-6,
    "min_p": 1.0,
    "top_k": 2**31 - 1,
    "max_new_tokens": 10**30,
    "stop": ["a", "b", "c", "d"],
    "truncate": 100,
    "top_n_tokens": 5,
    "watermark": True,
}


def test_limits_themselves_are_allowed() -> None:
    valid = check({"inputs": "x", "parameters": LIMIT_VALUES})
    assert valid.best_of == 2
    assert valid.stop == ("a", "b", "c", "d")
    assert valid.truncate == 100
    assert valid.sampling.watermark
    assert valid.sampling.top_k == 2**31 - 1
    assert valid.sampling.frequency_penalty == -2.0


def test_null_means_absent_for_every_parameter() -> None:
    names = [*LIMIT_VALUES, "do_sample", "seed", "grammar"]
    names += ["return_full_text", "details", "decoder_input_details", "adapter_id"]
    valid = check({"inputs": "x", "parameters": dict.fromkeys(names), "stream": None})
    empty = check({"inputs": "x", "parameters": {}})
    valid.sampling.seed = empty.sampling.seed = 0
    assert valid == empty
    assert not valid.sampling.HasField("temperature")


def test_a_tiny_temperature_does_not_overflow() -> None:
    valid = check({"inputs": "x", "parameters": {"temperature": 1e-40}})
    assert valid.sampling.do_sample
    assert valid.sampling.temperature == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "body",
    [{"inputs": "x", "min_tokens": 1}, {"inputs": "x", "parameters": {"min_tokens": 1}}],
)
def test_unknown_keys_are_refused_with_their_name(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="unknown field `min_tokens`"):
        parse(json.dumps(body).encode(), GenerateBody)


def test_what_clients_of_the_hub_send_beside_the_prompt_is_taken() -> None:
    check({"inputs": "x", "model": "dummy", "options": {"use_cache": False}})


def test_unknown_keys_that_are_null_ask_for_nothing() -> None:
    schema = {"const": None}
    grammar = {"type": "json", "value": schema}
    body = {"inputs": "x", "n": None, "parameters": {"min_tokens": None, "grammar": grammar}}
    parameters = parse(json.dumps(body).encode(), GenerateBody).parameters
    assert parameters is not None and parameters.grammar is not None
    assert json.loads(bytes(parameters.grammar.value)) == schema


def test_seeds_are_drawn_and_differ() -> None:
    valid = check({"inputs": "x", "parameters": {"best_of": 2, "do_sample": True}})
    first, second = valid.samplings()
    assert first.do_sample and second.do_sample
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("num_prompt_tokens", "max_new_tokens", "fitting"),
    [(1, None, 119), (100, None, 20), (100, 20, 20), (5, 1, 1)],
)
def test_an_answer_fits(num_prompt_tokens: int, max_new_tokens: int | None, fitting: int) -> None:
    assert fit_answer(num_prompt_tokens, max_new_tokens, LIMITS) == fitting


@pytest.mark.parametrize(
    ("num_prompt_tokens", "max_new_tokens", "sentence"),
    [
        (
            100,
            21,
            "`inputs` tokens + `max_new_tokens` must be <= 120. Given: 100 `inputs` tokens and 21 "
            "`max_new_tokens`",
        ),
        (
            121,
            None,
            "`inputs` tokens + `max_new_tokens` must be <= 120. Given: 121 `inputs` tokens and 0 "
            "`max_new_tokens`",
        ),
        (101, None, "`inputs` must have less than 100 tokens. Given: 101"),
        (101, 5, "`inputs` must have less than 100 tokens. Given: 101"),
        (0, 5, "`inputs` cannot be empty"),
    ],
)
def test_what_does_not_fit_is_refused(
    num_prompt_tokens: int, max_new_tokens: int | None, sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        fit_answer(num_prompt_tokens, max_new_tokens, LIMITS)
    assert str(caught.value) == f"Input validation error: {sentence}"


def test_biases_and_penalties_reach_the_shard() -> None:
    parameters = {"logit_bias": {"3": -100, "4": 2.5}, "presence_penalty": 0.5}
    sampling = check({"inputs": "x", "parameters": parameters}).sampling
    biases = dict(zip(sampling.biased_token_ids, sampling.token_biases, strict=True))
    assert biases == {3: -100.0, 4: 2.5}
    assert sampling.presence_penalty == 0.5
    assert not sampling.do_sample


def test_a_share_of_the_likeliest_reaches_the_shard_and_makes_it_draw() -> None:
    sampling = check({"inputs": "x", "parameters": {"min_p": 0.5}}).sampling
    assert (sampling.min_p, sampling.do_sample) == (0.5, True)
    without = check({"inputs": "x", "parameters": {"min_p": 0}}).sampling
    assert not without.HasField("min_p") and not without.do_sample


def test_stop_may_be_one_string() -> None:
    assert check({"inputs": "x", "parameters": {"stop": "ab"}}).stop == ("ab",)
    assert refusal({"stop": ""}) == "`stop` cannot hold an empty string"
