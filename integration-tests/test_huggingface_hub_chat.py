"""`huggingface_hub.InferenceClient.chat_completion`, sync and async."""

import asyncio
import json
from typing import Any

import pytest
from harness import EXAMPLES, Server, data_uri, post
from huggingface_hub import AsyncInferenceClient, InferenceClient

PICTURE = {"type": "image_url", "image_url": {"url": data_uri(EXAMPLES / "shapes.png")}}
MESSAGES: Any = [
    {"role": "user", "content": [PICTURE, {"type": "text", "text": "What is this a picture of?"}]}
]
ANSWER = "a red circle and two blue squares"
SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["count"],
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "count", "description": "Counts", "parameters": SCHEMA},
}


@pytest.fixture
def client(server: Server) -> InferenceClient:
    return InferenceClient(server.url)


def test_whole(client: InferenceClient) -> None:
    answer = client.chat_completion(MESSAGES, temperature=0, max_tokens=30)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 3


def test_stream(client: InferenceClient) -> None:
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat_completion(MESSAGES, temperature=0, stream=True, stream_options=options)
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == ANSWER
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].usage is not None


@pytest.mark.parametrize(
    "format",
    [
        {"type": "json", "value": SCHEMA},
        {"type": "json_object", "value": SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA}},
    ],
    ids=lambda format: format["type"],
)
def test_a_response_format(client: InferenceClient, format: Any) -> None:
    answer = client.chat_completion(MESSAGES, temperature=0, response_format=format, max_tokens=30)
    assert 0 <= json.loads(answer.choices[0].message.content or "")["count"] <= 9


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_tool_that_must_be_called(client: InferenceClient, is_streaming: bool) -> None:
    asked: Any = {"tools": [TOOL], "tool_choice": "count", "temperature": 0, "max_tokens": 100}
    if is_streaming:
        chunks = [c.choices[0] for c in client.chat_completion(MESSAGES, stream=True, **asked)]
        pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
        name = pieces[0].function.name
        arguments = "".join(piece.function.arguments or "" for piece in pieces)
        reason = chunks[-1].finish_reason
    else:
        (choice,) = client.chat_completion(MESSAGES, **asked).choices
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        name, arguments, reason = call.function.name, call.function.arguments, choice.finish_reason
    assert (name, reason) == ("count", "tool_calls")
    assert 0 <= json.loads(arguments)["count"] <= 9


def test_a_refusal_is_an_error_in_words(client: InferenceClient) -> None:
    with pytest.raises(Exception, match="max_tokens"):
        client.chat_completion(MESSAGES, max_tokens=-1)


def test_async(server: Server) -> None:
    async def scenario() -> tuple[str | None, str]:
        client = AsyncInferenceClient(server.url)
        whole = await client.chat_completion(MESSAGES, temperature=0)
        stream = await client.chat_completion(MESSAGES, temperature=0, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        await client.close()
        return whole.choices[0].message.content, "".join(pieces)

    assert asyncio.run(scenario()) == (ANSWER, ANSWER)


def test_the_tokens_of_a_chat(server: Server) -> None:
    status, body, _ = post(f"{server.url}/chat_tokenize", {"messages": MESSAGES})
    assert status == 200
    assert (
        body["templated_text"]
        == "<|user|><image>What is this a picture of?<end_of_utterance><|assistant|>"
    )
    words = "".join(token["text"] for token in body["tokenize_response"])
    assert words.count("<image>") > 1
