"""The answers of `/generate` and `/`, key for key."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from scripted_router import post, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import RowFault, scripted_facts, spell

END = {"id": 257, "text": "</s>", "logprob": -0.5, "special": True}
H = {"id": 39, "text": "H", "logprob": -0.5, "special": False}
I = {"id": 72, "text": "i", "logprob": -0.5, "special": False}  # noqa: E741
TOP_H = [H, {"id": 40, "text": "I", "logprob": -1.5, "special": False}]


def text_model() -> pb.ModelFacts:
    """A model that takes no images."""
    facts = scripted_facts()
    facts.takes_images = False
    return facts


def test_an_answer_is_the_text_alone() -> None:
    response = post("/generate", {"inputs": "x"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == b'{"generated_text":"Hi"}'


def test_details_have_the_keys_of_tgi_in_their_order() -> None:
    response = post("/generate", {"inputs": "x", "parameters": {"details": True}})
    tokens = json.dumps([H, I, END], separators=(",", ":"))
    assert response.text == (
        '{"generated_text":"Hi","details":{"finish_reason":"eos_token","generated_tokens":3,'
        f'"seed":null,"prefill":[],"tokens":{tokens}}}}}'
    )


def test_the_prompt_has_logprobs_when_asked_for_and_the_first_has_none() -> None:
    parameters = {"decoder_input_details": True}
    response = post("/generate", {"inputs": "abc", "parameters": parameters})
    assert response.json()["details"]["prefill"] == [
        {"id": 64, "text": "a", "logprob": None},
        {"id": 65, "text": "b", "logprob": -1.0},
        {"id": 66, "text": "c", "logprob": -2.0},
    ]


def test_top_tokens_stand_behind_the_details() -> None:
    parameters = {"details": True, "top_n_tokens": 2, "max_new_tokens": 1}
    details = post("/generate", {"inputs": "x", "parameters": parameters}).json()["details"]
    assert list(details)[-1] == "top_tokens"
    assert details["top_tokens"] == [TOP_H]


def test_the_best_of_two_comes_with_the_other() -> None:
    parameters = {"details": True, "best_of": 2, "do_sample": True}
    details = post("/generate", {"inputs": "x", "parameters": parameters}).json()["details"]
    (other,) = details["best_of_sequences"]
    assert other["generated_text"] == "Hi"
    assert list(other) == [
        "generated_text",
        "finish_reason",
        "generated_tokens",
        "seed",
        "prefill",
        "tokens",
    ]
    assert 0 <= other["seed"] != details["seed"] >= 0


@pytest.mark.parametrize(
    ("parameters", "seed"),
    [({"do_sample": True, "seed": 2**64 - 1}, 2**64 - 1), ({"seed": 7}, None)],
)
def test_the_seed_is_reported_only_when_it_mattered(
    parameters: dict[str, Any], seed: int | None
) -> None:
    body = {"inputs": "x", "parameters": {"details": True, **parameters}}
    assert post("/generate", body).json()["details"]["seed"] == seed


@pytest.mark.parametrize(
    ("body", "does_sample"),
    [
        ({"inputs": "x"}, True),
        ({"inputs": "x", "parameters": None}, True),
        ({"inputs": "x", "parameters": {}}, False),
        ({"inputs": "x", "parameters": {"temperature": 0.5}}, True),
        ({"inputs": "x", "parameters": {"temperature": 1.0}}, False),
        ({"inputs": "x", "parameters": {"top_k": 3}}, True),
    ],
)
@pytest.mark.parametrize("path", ["/generate", "/"])
def test_sampling_is_on_without_parameters_and_off_with_empty_ones(
    path: str, body: Any, does_sample: bool
) -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            await client.post(path, json=body)
            (joining,) = [joined for step in edge.link.steps for joined in step.joining]
            assert joining.sampling.do_sample is does_sample

    asyncio.run(scenario())


def test_an_answer_has_the_headers_of_tgi() -> None:
    headers = post("/generate", {"inputs": "añb"}).headers
    assert headers["x-compute-type"] == "1-cpu"
    assert headers["x-compute-characters"] == "3"
    assert headers["x-prompt-tokens"] == "4"
    assert headers["x-generated-tokens"] == "3"
    assert float(headers["x-compute-time"]) > 0
    for name in ("total-time", "validation-time", "queue-time", "inference-time", "time-per-token"):
        assert headers[f"x-{name}"].isdigit()


def test_the_compute_type_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPUTE_TYPE", "2-abacus")
    assert post("/generate", {"inputs": "x"}).headers["x-compute-type"] == "2-abacus"


def test_a_stop_sequence_stays_in_the_text() -> None:
    body = {"inputs": "x", "parameters": {"stop": ["lo"], "details": True}}
    answer = post("/generate", body, choose=spell("Hello")).json()
    assert answer["generated_text"] == "Hello"
    assert answer["details"]["finish_reason"] == "stop_sequence"


def test_the_compatible_route_answers_with_an_array_and_the_prompt() -> None:
    response = post("/", {"inputs": "x: "}, facts=text_model())
    assert response.content == b'[{"generated_text":"x: Hi"}]'


def test_the_compatible_route_does_not_repeat_images() -> None:
    assert post("/", {"inputs": "x: "}).content == b'[{"generated_text":"Hi"}]'


def test_the_compatible_route_leaves_the_prompt_out_when_told_to() -> None:
    body = {"inputs": "x: ", "parameters": {"return_full_text": False}, "stream": False}
    assert post("/", body, facts=text_model()).content == b'[{"generated_text":"Hi"}]'


def test_the_compatible_route_streams_when_told_to() -> None:
    body = {"inputs": "x: ", "parameters": {"return_full_text": None}, "stream": True}
    response = post("/", body, facts=text_model())
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.count("data: ") == 3
    assert '"generated_text":"x: Hi"' in response.text


def test_generate_ignores_stream() -> None:
    assert post("/generate", {"inputs": "x", "stream": True}).json() == {"generated_text": "Hi"}


def test_the_full_text_of_every_sequence_has_the_prompt() -> None:
    parameters = {"return_full_text": True, "details": True, "best_of": 2, "top_p": 0.5}
    answer = post("/generate", {"inputs": "x: ", "parameters": parameters}).json()
    assert answer["generated_text"] == "x: Hi"
    assert answer["details"]["best_of_sequences"][0]["generated_text"] == "x: Hi"


def test_truncate_keeps_the_end_of_the_prompt() -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            body = {"inputs": "abcdef", "parameters": {"truncate": 2}}
            response = await client.post("/generate", json=body)
            assert response.headers["x-prompt-tokens"] == "2"
            (joining,) = [joined for step in edge.link.steps for joined in step.joining]
            assert list(joining.token_ids)[:2] == edge.generation.tokenizer.encode("ef")

    asyncio.run(scenario())


def test_without_max_new_tokens_an_answer_may_fill_what_is_left() -> None:
    body = {"inputs": "abc", "parameters": {"details": True}}
    facts = scripted_facts(num_blocks=2, block_size=16)
    details = post("/generate", body, choose=spell("a" * 50), facts=facts).json()["details"]
    assert (details["generated_tokens"], details["finish_reason"]) == (32 - 3, "length")


def test_a_row_that_fails_is_a_424() -> None:
    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        raise RowFault(pb.RowFailure.KIND_INTERNAL, "NaN in the logits")

    response = post("/generate", {"inputs": "x"}, choose=choose)
    assert response.status_code == 424
    assert response.json() == {
        "error": "Request failed during generation: NaN in the logits",
        "error_type": "generation",
    }


def test_answers_are_written_without_rounding() -> None:
    assert msgspec.json.encode([1e-9, -0.3400000035762787, float("nan"), float("-inf")]) == (
        b"[1e-9,-0.3400000035762787,null,null]"
    )
