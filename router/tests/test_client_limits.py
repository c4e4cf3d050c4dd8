"""Everything that a client can make large has a bound, and words for who exceeds it."""

import asyncio
import json
from typing import Any

import pytest
from scripted_chats import facts
from scripted_router import serve

HI = {"role": "user", "content": "hi"}
DEEP: Any = 1
for _ in range(900):
    DEEP = {"a": DEEP}

CASES: list[tuple[str, Any, int, str]] = [
    (
        "/generate",
        {"parameters": {"stop": ["a" * 4097]}},
        422,
        "up to 4096 characters. Given: 4097",
    ),
    ("/generate", {"parameters": {"stop": ["a"] * 5}}, 422, "up to 4 stop sequences. Given: 5"),
    ("/generate", {"parameters": {"best_of": 10**9}}, 422, "<= 2. Given: 1000000000"),
    ("/generate", {"parameters": {"top_n_tokens": 10**6}}, 422, "<= 5. Given: 1000000"),
    ("/generate", {"parameters": {"max_new_tokens": 10**9}}, 422, "must be <= 1024"),
    ("/generate", {"parameters": {"truncate": 10**9}}, 422, "Given: 1000000000"),
    ("/generate", {"parameters": {"seed": 10**30}}, 422, ">= 0 and < 2**64"),
    ("/generate", {"x" * 50_000: 1}, 422, "unknown field"),
    ("/v1/completions", {"prompt": ["a"] * 5}, 422, "batch size of 4. Given: 5"),
    ("/v1/completions", {"prompt": "a", "n": 10**9}, 422, "<= 2"),
    ("/v1/completions", {"prompt": "a", "best_of": 10**9}, 422, "<= 2"),
    ("/v1/completions", {"prompt": "a", "logprobs": 10**9}, 422, "<= 5"),
    ("/v1/chat/completions", {"messages": [HI] * 4097}, 422, "4096 messages. Given: 4097"),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 4097}]},
        422,
        "4096 parts. Given: 4097",
    ),
    ("/v1/chat/completions", {"messages": [HI], "n": 10**9}, 422, "<= 2"),
    ("/v1/chat/completions", {"messages": [HI], "chat_template_kwargs": DEEP}, 400, "too deeply"),
    (
        "/v1/chat/completions",
        {
            "messages": [HI],
            "tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)],
        },
        422,
        "up to 128 functions. Given: 129",
    ),
    ("/vertex", {"instances": [{"inputs": "a"}] * 200}, 429, "overloaded"),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), CASES)
def test_more_than_allowed_is_refused_in_words(
    path: str, body: dict[str, Any], status: int, words: str
) -> None:
    async def scenario() -> None:
        async with serve(facts=facts()) as edge, edge.client as client:
            full = {"inputs": "a", **body} if path == "/generate" else body
            content = json.dumps(full).encode()
            headers = {"content-type": "application/json"}
            response = await client.post(path, content=content, headers=headers)
            assert response.status_code == status, response.text
            assert words in response.json()["error"]
            assert len(response.json()["error"]) < 1100

    asyncio.run(scenario())
