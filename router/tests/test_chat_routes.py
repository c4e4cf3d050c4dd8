"""`/v1/chat/completions` and `/chat_tokenize` over a scripted shard, in OpenAI's shapes."""

import asyncio
from typing import Any

import pytest
from scripted_chats import (
    HELLO,
    TOOL,
    chat,
    facts,
    refusal,
)
from scripted_router import events, serve

from inlay_router.links.scripted_shard import scripted_facts, spell


def test_an_answer_has_the_keys_of_openai() -> None:
    answer = chat({"temperature": 0}).json()
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "scripted"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    num_prompt_tokens = len("user:Hello;assistant:") + 1
    assert answer["usage"] == {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": 3,
        "total_tokens": num_prompt_tokens + 3,
        "prompt_tokens_details": {"cached_tokens": 0, "image_tokens": 0},
    }


def test_an_answer_that_is_cut_says_so() -> None:
    (choice,) = chat({"max_completion_tokens": 1}).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("H", "length")


def test_a_stream_is_role_then_text_then_reason_then_usage() -> None:
    response = chat({"stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = events(response)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hi"
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "stop"]
    assert choices[-1]["delta"] == {}
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert {chunk["id"] for chunk in [*chunks, last]} == {last["id"]}


def test_several_choices_have_seeds_of_their_own() -> None:
    answer = chat({"n": 2, "seed": 5}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 6
    choices = [event["choices"][0] for event in events(chat({"n": 2, "stream": True}))]
    assert {choice["index"] for choice in choices} == {0, 1}
    assert sum(choice["finish_reason"] == "stop" for choice in choices) == 2


def test_the_stop_sequence_is_left_out() -> None:
    (choice,) = chat({"stop": "l"}, spell("Hello")).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("He", "stop")
    streamed = events(chat({"stop": ["lo", "x"], "stream": True}, spell("Hello")))
    texts = [event["choices"][0]["delta"].get("content", "") for event in streamed]
    assert "".join(texts) == "Hel"


def test_openai_defaults_are_accepted_and_temperature_0_is_greedy() -> None:
    async def scenario() -> list[bool]:
        async with serve(spell("Hi"), facts=facts()) as edge, edge.client as client:
            for controls in ({"temperature": 1, "top_p": 1}, {"temperature": 0, "top_p": 0.5}):
                body = {"messages": HELLO, **controls}
                assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
            return [one.sampling.do_sample for step in edge.link.steps for one in step.joining]

    assert asyncio.run(scenario()) == [True, False]


def test_logprobs_of_every_token() -> None:
    body = {"logprobs": True, "top_logprobs": 2, "max_tokens": 1}
    (choice,) = chat(body).json()["choices"]
    (entry,) = choice["logprobs"]["content"]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("H", -0.5, [72])
    assert [top["token"] for top in entry["top_logprobs"]] == ["H", "I"]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"messages": []}, "validation", "`messages` cannot be empty"),
        ({"max_tokens": 0}, "validation", "`max_tokens` must be strictly positive. Given: 0"),
        (
            {"max_completion_tokens": -1, "max_tokens": 3},
            "validation",
            "`max_completion_tokens` must be strictly positive. Given: -1",
        ),
        ({"max_tokens": 10**6}, "validation", "tokens and 1000000 `max_tokens`"),
        (
            {"max_completion_tokens": 10**6},
            "validation",
            "tokens and 1000000 `max_completion_tokens`",
        ),
        ({"n": 9}, "validation", "`n` must be > 0 and <= 2. Given: 9"),
        ({"top_logprobs": 1}, "validation", "`top_logprobs` needs `logprobs` to be true"),
        ({"guided_decoding_backend": "x"}, "validation", "unknown field `guided_decoding_backend`"),
        ({"stream_options": {"x": 1}}, "validation", "unknown field `x`"),
        ({"guideline": "x"}, "validation", "`guideline` is not known"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "validation",
            "`messages[0].content[0]`: `type` must be `text` or `image_url`. Given: `audio`",
        ),
        ({"response_format": {"type": "yaml"}}, "validation", "`response_format.type` must be"),
        ({"response_format": {"type": "regex"}}, "validation", "needs a `value`"),
        (
            {"response_format": {"type": "json_object"}, "tools": []},
            "tool_error",
            "Tool error: Grammar and tools are mutually exclusive",
        ),
        ({"tools": [TOOL], "tool_choice": "g"}, "tool_error", "Tool with name g not found"),
        ({"tool_choice": "required"}, "tool_error", "`tool_choice` needs `tools`"),
        ({"tools": [TOOL, TOOL]}, "tool_error", "two functions have the name f"),
    ],
)
def test_refusals_name_the_field(body: dict[str, Any], kind: str, words: str) -> None:
    error_type, error = refusal(body)
    assert error_type == kind
    assert words in error


def test_a_model_without_a_template_says_so() -> None:
    assert refusal({}, model=scripted_facts()) == (
        "template_error",
        "Template error: template not found",
    )


def test_the_tokens_of_a_chat() -> None:
    answer = chat({}, path="/chat_tokenize").json()
    assert answer["templated_text"] == "<s>user:Hello;assistant:"
    tokens = answer["tokenize_response"]
    assert "".join(token["text"] for token in tokens) == answer["templated_text"]
    assert tokens[0] == {"id": 256, "text": "<s>", "start": 0, "stop": 3}
