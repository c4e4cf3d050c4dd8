"""Outlines' own `from_tgi`, which asks the server to hold answers to types."""

import asyncio
import json
from typing import Any, Literal

import outlines
from harness import EXAMPLES, Server, markdown
from huggingface_hub import AsyncInferenceClient, InferenceClient
from pydantic import BaseModel

PROMPT = markdown(EXAMPLES / "shapes.png") + "How many objects are there?\n\n"


class Count(BaseModel):
    """How many."""

    count: int


def test_answers_have_the_type_that_was_asked_for(server: Server) -> None:
    model: Any = outlines.from_tgi(InferenceClient(server.url))
    assert isinstance(json.loads(model(PROMPT, Count, max_new_tokens=30))["count"], int)
    assert model(PROMPT, Literal["one", "two", "three"], max_new_tokens=10) in {
        "one",
        "two",
        "three",
    }
    assert int(model(PROMPT, outlines.types.regex("[1-9]"), max_new_tokens=10)) in range(1, 10)
    assert model(PROMPT, max_new_tokens=5)


def test_a_stream_joins_to_the_type(server: Server) -> None:
    model: Any = outlines.from_tgi(InferenceClient(server.url))
    pieces = list(model.stream(PROMPT, Count, max_new_tokens=30))
    text = "".join(pieces).partition("<end_of_utterance>")[0]
    assert len(pieces) > 1
    assert isinstance(json.loads(text)["count"], int)


def test_async(server: Server) -> None:
    async def scenario() -> str:
        client = AsyncInferenceClient(server.url)
        answer: str = await outlines.from_tgi(client)(PROMPT, Count, max_new_tokens=30)
        await client.close()
        return answer

    assert isinstance(json.loads(asyncio.run(scenario()))["count"], int)
