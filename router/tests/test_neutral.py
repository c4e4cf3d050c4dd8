"""Defaults of other servers, under keys that are not ours."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from scripted_router import serve

from inlay_router.api.neutral import asks_for_nothing
from inlay_router.links.scripted_shard import scripted_facts


@pytest.mark.parametrize(
    ("name", "value", "is_nothing"),
    [
        ("anything", None, True),
        ("anything", 0, False),
        ("skip_special_tokens", True, True),
        ("skip_special_tokens", False, False),
        ("skip_special_tokens", 1, False),
        ("length_penalty", 1, True),
        ("length_penalty", 1.0, True),
        ("length_penalty", True, False),
        ("modalities", ["text"], True),
        ("modalities", ["text", "audio"], False),
        ("functions", [], True),
    ],
)
def test_a_value_asks_for_nothing_or_not(name: str, value: Any, is_nothing: bool) -> None:
    assert asks_for_nothing(name, msgspec.Raw(json.dumps(value).encode())) is is_nothing


@pytest.mark.parametrize("value", [b"[" * 100_000 + b"]" * 100_000, b'"\xff"', b"["])
def test_what_cannot_be_read_asks_for_something(value: bytes) -> None:
    assert not asks_for_nothing("functions", msgspec.Raw(value))


def post(path: str, body: dict[str, Any]) -> httpx.Response:
    async def scenario() -> httpx.Response:
        facts = scripted_facts()
        facts.chat_template = "{{ messages[0].content }}"
        async with serve(facts=facts) as edge, edge.client as client:
            return await client.post(path, json=body)

    return asyncio.run(scenario())


DEFAULTS = {
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "include_stop_str_in_output": False,
    "length_penalty": 1.0,
    "use_beam_search": False,
    "ignore_eos": False,
    "min_tokens": 0,
    "top_k": -1,
    "min_p": 0.0,
    "stop_token_ids": [],
    "bad_words": None,
}
"""What clients of vLLM write out."""


def test_clients_of_vllm_may_write_their_defaults_out() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "echo": False, **DEFAULTS}
    assert post("/v1/chat/completions", body).status_code == 200
    body = {"prompt": "x", "best_of": 1, "suffix": "", "echo": False, **DEFAULTS}
    assert post("/v1/completions", body).status_code == 200
    body = {"inputs": "x", "parameters": {"num_beams": 1, "early_stopping": False}}
    assert post("/generate", body).status_code == 200


def test_another_value_is_refused_by_its_name() -> None:
    response = post("/v1/completions", {"prompt": "x", "skip_special_tokens": False})
    assert response.status_code == 422
    assert "unknown field `skip_special_tokens`" in response.json()["error"]
    response = post("/generate", {"inputs": "x", "parameters": {"num_beams": 4}})
    assert "`parameters`: object contains unknown field `num_beams`" in response.json()["error"]
