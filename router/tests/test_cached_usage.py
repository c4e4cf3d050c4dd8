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
