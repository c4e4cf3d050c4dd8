"""`/v1/completions` in OpenAI's shapes."""

import asyncio
from typing import Any

import httpx
import pytest
from scripted_router import events, post, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import Choose, RowFault, spell


def complete(
    body: dict[str, Any], choose: Choose | None = None, path: str = "/v1/completions", **config: Any
) -> httpx.Response:
    return post(path, body, choose or spell("hello"), **config)


def test_an_answer_has_the_keys_of_openai() -> None:
    answer = complete({"prompt": "ab", "max_tokens": 20}).json()
    assert list(answer) == [
        "object",
        "id",
        "created",
        "model",
        "system_fingerprint",
        "choices",
        "usage",
    ]
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["model"] == "scripted"
    assert answer["choices"] == [
        {"index": 0, "text": "hello", "logprobs": None, "finish_reason": "stop"}
    ]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (2, 6, 8)


def test_headers_add_up_the_tokens_of_all_prompts() -> None:
    headers = complete({"prompt": ["ab", "abc"]}).headers
    assert headers["x-prompt-tokens"] == "5"
    assert headers["x-generated-tokens"] == "12"
    assert headers["x-compute-characters"] == "5"
    for name in ("x-total-time", "x-validation-time", "x-queue-time", "x-inference-time"):
        assert int(headers[name]) >= 0
    assert float(headers["x-compute-time"]) > 0


def test_the_length_ends_an_answer() -> None:
    (choice,) = complete({"prompt": "ab", "max_tokens": 3}).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("hel", "length")


@pytest.mark.parametrize("stop", ["ll", ["x", "ll"], ["ello", "ll"]])
def test_the_stop_sequence_is_left_out(stop: Any) -> None:
    (choice,) = complete({"prompt": "ab", "stop": stop}).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("he", "stop")
    streamed = events(complete({"prompt": "ab", "stop": stop, "stream": True}))
    assert "".join(event["choices"][0]["text"] for event in streamed) == "he"
    assert streamed[-1]["choices"][0]["finish_reason"] == "stop"


def test_every_prompt_is_answered_at_its_place() -> None:
    choices = complete({"prompt": ["ab", "cd", "ef"], "max_tokens": 2}).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [choice["text"] for choice in choices] == ["he"] * 3


@pytest.mark.parametrize("prompt", [[97, 98], [[97, 98]]])
def test_a_prompt_may_be_token_ids(prompt: Any) -> None:
    answer = complete({"prompt": prompt, "echo": True, "max_tokens": 1}).json()
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["choices"][0]["text"].endswith("h")
    assert len(answer["choices"][0]["text"]) == 3


def test_n_answers_each_prompt_n_times() -> None:
    answer = complete({"prompt": ["a", "b"], "n": 2, "max_tokens": 2, "seed": 3}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["usage"]["completion_tokens"] == 8


def test_best_of_generates_more_than_it_shows() -> None:
    answer = complete({"prompt": "a", "n": 1, "best_of": 2, "max_tokens": 2}).json()
    assert len(answer["choices"]) == 1
    assert answer["usage"]["completion_tokens"] == 4


def test_echo_begins_with_the_prompt() -> None:
    assert complete({"prompt": "ab", "echo": True}).json()["choices"][0]["text"] == "abhello"
    streamed = events(complete({"prompt": "ab", "echo": True, "stream": True}))
    assert "".join(event["choices"][0]["text"] for event in streamed) == "abhello"


def test_logprobs_name_every_token_and_its_place() -> None:
    body = {"prompt": "ab", "echo": True, "logprobs": 2, "max_tokens": 2}
    logprobs = complete(body).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "b", "h", "e"]
    assert logprobs["text_offset"] == [0, 1, 2, 3]
    assert logprobs["token_logprobs"][0] is None
    assert all(value <= 0 for value in logprobs["token_logprobs"][1:])
    assert logprobs["top_logprobs"][0] is None
    assert logprobs["top_logprobs"][1] == {"b": -1.0, "!": -0.5, '"': -0.5}
    assert "h" in logprobs["top_logprobs"][2]


def test_streamed_logprobs_are_those_of_the_whole_answer() -> None:
    body = {"prompt": "ab", "logprobs": 1, "max_tokens": 4}
    whole = complete(body).json()["choices"][0]["logprobs"]
    pieces = [
        event["choices"][0]["logprobs"] for event in events(complete({**body, "stream": True}))
    ]
    for key, values in whole.items():
        assert [value for piece in pieces if piece for value in piece[key]] == values


def test_a_stream_sends_pieces_and_ends_each_choice_with_its_usage() -> None:
    streamed = events(complete({"prompt": ["ab", "c"], "stream": True, "max_tokens": 3}))
    texts = {0: "", 1: ""}
    for event in streamed:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "hel", 1: "hel"}
    assert len({event["id"] for event in streamed}) == 1
    ends = [event for event in streamed if event["choices"][0]["finish_reason"]]
    assert [event["usage"]["completion_tokens"] for event in ends] == [3, 3]
    assert all(event["usage"] is None for event in streamed if event not in ends)


def test_usage_comes_last_when_it_is_asked_for() -> None:
    options = {"include_usage": True}
    body = {"prompt": ["ab", "c"], "stream": True, "max_tokens": 3, "stream_options": options}
    *others, last = events(complete(body))
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (3, 6)


REFUSALS = [
    ({"prompt": "a", "suffix": "b"}, "suffix not supported", "Suffix is not supported"),
    ({"prompt": ["a"] * 5}, "batch size exceeded", "maximum allowed batch size of 4"),
    ({"prompt": []}, "validation", "`prompt` cannot be empty"),
    ({"prompt": ["a", ""]}, "validation", "`prompt` cannot be empty"),
    ({"prompt": [1, "a"]}, "validation", "`prompt` must not mix token ids with prompts"),
    ({"prompt": [1000]}, "validation", "`prompt` must hold token ids >= 0 and < 259. Given: 1000"),
    ({"prompt": "a", "n": 3}, "validation", "`n` must be > 0 and <= 2. Given: 3"),
    ({"prompt": "a", "n": 2, "best_of": 1}, "validation", "`best_of` must be >= `n` (2) and <= 2"),
    (
        {"prompt": "a", "best_of": 2, "stream": True},
        "validation",
        "`best_of` > `n` is not supported when streaming tokens",
    ),
    ({"prompt": "a", "logprobs": 6}, "validation", "`logprobs` must be >= 0 and <= 5. Given: 6"),
    ({"prompt": "a", "temperature": -1}, "validation", "`temperature` must be >= 0.0. Given: -1.0"),
    ({"prompt": "a", "top_k": -2}, "validation", "`top_k` must be at least 1, or 0 or -1 for all"),
    (
        {"prompt": "a" * 1100},
        "validation",
        "`inputs` must have less than 1023 tokens. Given: 1100",
    ),
    ({"prompt": "a", "top_p": 1.5}, "validation", "`top_p` must be > 0.0 and <= 1.0. Given: 1.5"),
    (
        {"prompt": "a", "max_tokens": 0},
        "validation",
        "`max_tokens` must be strictly positive. Given: 0",
    ),
    (
        {"prompt": "a", "max_tokens": 10**6},
        "validation",
        "tokens and 1000000 `max_tokens`",
    ),
    ({}, "validation", "missing required field `prompt`"),
    (
        {"prompt": "a", "guided_decoding_backend": "x"},
        "validation",
        "unknown field `guided_decoding_backend`",
    ),
    ({"prompt": "a", "stream_options": {"x": 1}}, "validation", "unknown field `x`"),
]


@pytest.mark.parametrize(("body", "error_type", "words"), REFUSALS)
@pytest.mark.parametrize("is_streaming", [False, True])
def test_what_cannot_be_served_is_refused_before_the_first_byte(
    body: dict[str, Any], error_type: str, words: str, is_streaming: bool
) -> None:
    response = complete({**body, "stream": is_streaming} if "stream" not in body else body)
    assert response.status_code == 422
    assert response.json()["error_type"] == error_type
    assert words in response.json()["error"]


def test_openai_defaults_are_accepted_and_temperature_0_is_greedy() -> None:
    async def scenario() -> list[bool]:
        async with serve(spell("hello")) as edge, edge.client as client:
            for controls in ({"top_p": 1}, {"temperature": 0, "top_p": 0.5}, {"model": "any"}):
                body = {"prompt": "a", "user": "me", **controls}
                assert (await client.post("/v1/completions", json=body)).status_code == 200
            steps = edge.link.steps
            return [one.sampling.do_sample for step in steps for one in step.joining]

    assert asyncio.run(scenario()) == [True, False, True]


def test_what_javascript_clients_send_along_is_taken() -> None:
    flags = {"details": True, "decoder_input_details": True, "top_n_tokens": 2}
    assert complete({"prompt": "a", **flags}).status_code == 200


def test_a_fault_in_a_stream_is_an_event_before_the_end_mark() -> None:
    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if len(token_ids) - num_prompt_tokens == 2:
            raise RowFault(pb.RowFailure.KIND_INTERNAL, "no")
        return 97

    response = complete({"prompt": "a", "stream": True}, choose)
    *_, last = events(response)
    assert last["error"]["http_status_code"] == 424
    assert last["error"]["message"].startswith("Request failed during generation")


def test_openai_clients_get_their_own_shape_of_errors() -> None:
    async def scenario() -> list[httpx.Response]:
        sdk = {"x-stainless-lang": "python"}
        async with serve() as edge, edge.client as client:
            return [
                await client.post("/v1/completions", json={}, headers=sdk),
                await client.post("/v1/completions", json={}),
                await client.post("/generate", json={}, headers=sdk),
                await client.get("/v1/models/x", headers=sdk),
                await client.post("/chat/completions", json={}, headers=sdk),
            ]

    theirs, plain, tgi, model, lost = asyncio.run(scenario())
    words = plain.json()["error"]
    assert plain.json()["error_type"] == "validation"
    error = {"message": words, "type": "validation", "param": None, "code": None}
    assert theirs.json() == {"error": error}
    assert tgi.json()["error_type"] == "validation"
    assert model.json()["error"]["message"].startswith("no such model")
    words = "no such route: /chat/completions (is it /v1/chat/completions?)"
    assert lost.json()["error"]["message"] == words
