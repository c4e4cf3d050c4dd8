"""What the prefix cache spared is told on every route that tells of tokens."""

import asyncio
import json
from typing import Any

import pytest
from scripted_router import serve

from inlay_router.links.scripted_shard import scripted_facts, spell

TEXT = "Once upon a time there was a prompt that was longer than a block. " * 3
PROMPT = {"inputs": TEXT, "parameters": {"details": True}}
CHAT = {"messages": [{"role": "user", "content": TEXT}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/generate", PROMPT),
    ("/generate_stream", PROMPT),
    ("/v1/completions", {"prompt": TEXT}),
    ("/v1/completions", {"prompt": TEXT, **STREAM}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, **STREAM}),
]


def cached_tokens(text: str) -> int:
    """What an answer, or the last event of a stream, says of them."""
    events = [part.removeprefix("data: ") for part in text.split("\n\n")]
    answer = json.loads([event for event in events if event.startswith("{")][-1])
    if "usage" in answer:
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    return int(answer["details"].get("cached_tokens", 0))


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_the_second_of_two_equal_prompts_was_mostly_cached(path: str, body: dict[str, Any]) -> None:
    facts = scripted_facts()
    facts.chat_template = "{{ messages[0].content }}"

    async def scenario() -> list[str]:
        async with serve(spell("Hi"), facts=facts) as edge, edge.client as client:
            return [(await client.post(path, json=body)).text for _ in range(2)]

    first, second = (cached_tokens(text) for text in asyncio.run(scenario()))
    assert first == 0
    assert len(TEXT) // 2 < second < len(TEXT)


def test_equal_prompts_of_one_call_are_computed_once() -> None:
    """Usage counts the prompt once, so what it says of the cache is the mean of the answers."""

    async def scenario() -> tuple[int, int]:
        async with serve(spell("Hi")) as edge, edge.client as client:
            answer = await client.post("/v1/completions", json={"prompt": TEXT, "n": 2})
            told = json.loads(answer.text)["usage"]["prompt_tokens_details"]["cached_tokens"]
            return int(told), edge.generation.stats.num_cached_tokens

    block_size = scripted_facts().block_size
    told, counted = asyncio.run(scenario())
    assert counted == ((len(TEXT) - 1) // block_size) * block_size
    assert told == counted // 2
