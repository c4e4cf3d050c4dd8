"""Texts that a model may write, read for calls of functions and told in OpenAI's shapes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from scripted_router import Exchange, serve

from fuzz.bodies import Grammars, chat_facts
from fuzz.mutation import damage
from fuzz.target import Target, Try, must
from inlay_router.links.scripted_shard import spell

_BODY = {
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
}
_WORDS = (
    *(
        b"<tool_call>",
        b"</tool_call>",
        b'{"name": "f", "arguments": ',
        b"}",
        b"{",
        b'"',
        b"\\",
        b"[",
    ),
    *(
        b'{"name"',
        b'"f"',
        b"null",
        b"\n",
        b"\\ud800",
        b"\xf0\x9f\x99\x82",
        b"\xff",
        b"<s>",
        b"</s>",
    ),
    *(b"[TOOL_CALLS]", b"<|python_tag|>", b"<function=f>", b"</function>", b"<think>", b"</think>"),
)


@asynccontextmanager
async def _open() -> AsyncIterator[Try]:
    async with serve(facts=chat_facts(), grammars=Grammars()) as edge:

        async def attempt(data: bytes) -> str:
            edge.link.shard.choose = spell(
                data.decode("utf-8", "replace").replace("</s>", "")[:400]
            )
            told = []
            for is_streaming in (False, True):
                body = {**_BODY, "stream": is_streaming}
                call = Exchange(edge.app, "/v1/chat/completions", json.dumps(body).encode())
                await call.task
                text = call.text.decode()
                must(call.status == 200, f"{call.status} {text[:300]}")
                must("Internal server error" not in text, text[:300])
                told.append(_calls(text, is_streaming=is_streaming))
            must(told[0] == told[1], f"a stream tells of {told[1]} calls, an answer of {told[0]}")
            return f"{told[0]} calls"

        yield attempt


def _calls(text: str, *, is_streaming: bool) -> int:
    """How many functions are called."""
    if not is_streaming:
        return len(json.loads(text)["choices"][0]["message"].get("tool_calls") or [])
    events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or []]
    return len({call["index"] for call in calls})


def _mutate(data: bytes, other: bytes, chance: Random) -> bytes:
    return damage(data, other, chance, _WORDS)[:400]


def _seeds() -> list[bytes]:
    call = b'<tool_call>\n{"name": "f", "arguments": {"a": ["b"]}}\n</tool_call>'
    return [b"plain text", call, b"words " + call + call, b'{"name": "f", "parameters": {}}']


ANSWERS = Target(name="answers", seeds=_seeds, mutate=_mutate, open=_open, weight=2)
