"""`/invocations` and `/vertex`: what clouds wrap requests in."""

from typing import Any

import httpx
import pytest
from scripted_router import post

from inlay_router.links.scripted_shard import scripted_facts, spell


def ask(path: str, body: Any, **config: Any) -> httpx.Response:
    facts = scripted_facts()
    facts.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return post(path, body, spell("hello"), facts=facts, **config)


def test_an_invocation_with_inputs_is_answered_as_on_the_root() -> None:
    body = {"inputs": "ab", "parameters": {"max_new_tokens": 2}}
    assert ask("/invocations", body).json() == [{"generated_text": "he"}]


def test_an_invocation_may_be_a_stream() -> None:
    response = ask("/invocations", {"inputs": "ab", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert '"generated_text":"hello"' in response.text


def test_an_invocation_with_a_prompt_is_a_completion() -> None:
    answer = ask("/invocations", {"prompt": "ab", "max_tokens": 2}).json()
    assert answer["choices"][0]["text"] == "he"


CHAT = {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 2}


def test_an_invocation_with_messages_is_a_chat() -> None:
    answer = ask("/invocations", CHAT).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "he"


def test_an_instance_may_be_a_chat() -> None:
    response = ask("/vertex", {"instances": [CHAT, {"inputs": "c"}]})
    assert response.json() == {"predictions": ["he", "hello"]}


def test_an_instance_that_is_a_chat_is_held_to_all_that_it_says() -> None:
    response = ask("/vertex", {"instances": [{**CHAT, "min_tokens": 99}]})
    assert "`min_tokens` must be >= 0 and <= `max_tokens`" in response.json()["error"]


def test_parameters_beside_the_instances_must_be_empty() -> None:
    body = {"instances": [{"inputs": "c"}]}
    assert ask("/vertex", {**body, "parameters": {}}).json() == {"predictions": ["hello"]}
    response = ask("/vertex", {**body, "parameters": {"max_new_tokens": 2}})
    assert response.status_code == 422
    assert "`parameters` must be empty" in response.json()["error"]


@pytest.mark.parametrize("body", [{}, {"instances": []}, [], "text", 3])
def test_an_invocation_that_is_none_of_them_is_refused(body: Any) -> None:
    response = ask("/invocations", body)
    assert response.status_code == 422
    assert response.json()["error_type"] == "validation"


def test_what_is_wrong_with_an_invocation_is_said_as_on_its_route() -> None:
    error = ask("/invocations", {"inputs": "a", "parameters": {"top_k": "many"}}).json()["error"]
    assert "`parameters.top_k`: expected `int | null`, got `str`" in error


def test_vertex_answers_each_instance() -> None:
    parameters = {"max_new_tokens": 2, "seed": 1}
    body = {"instances": [{"inputs": "ab", "parameters": parameters}, {"inputs": "c"}]}
    response = ask("/vertex", body)
    assert response.json() == {"predictions": ["he", "hello"]}
    assert response.headers["x-prompt-tokens"] == "3"
    assert response.headers["x-generated-tokens"] == "8"


def test_vertex_refuses_what_generate_refuses() -> None:
    assert ask("/vertex", {"instances": []}).status_code == 422
    response = ask("/vertex", {"instances": [{"inputs": "a"}, {"inputs": ""}]})
    assert response.status_code == 422
    assert response.json()["error"] == "Input validation error: `inputs` cannot be empty"


def test_every_instance_holds_a_permit() -> None:
    body = {"instances": [{"inputs": "a"}] * 3}
    assert ask("/vertex", body, max_concurrent_requests=2).status_code == 429
    assert ask("/vertex", body, max_concurrent_requests=3).status_code == 200
