"""The `openai` package, sync and async, every way it calls chat completions."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from harness import EXAMPLES, Server, data_uri
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, Field

PICTURE = {"type": "image_url", "image_url": {"url": data_uri(EXAMPLES / "shapes.png")}}
QUESTION = "What is this a picture of?"
ANSWER = "a red circle and two blue squares"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"$ref": "#/$defs/Place"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["place", "unit"],
            "additionalProperties": False,
            "$defs": {
                "Place": {
                    "type": "object",
                    "properties": {"zip": {"type": "integer", "minimum": 0, "maximum": 9}},
                    "required": ["zip"],
                    "additionalProperties": False,
                }
            },
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}


class Scene(BaseModel):
    """What the model is asked to fill in."""

    count: int = Field(ge=0, le=9)


def asking(text: str, *parts: Any) -> Any:
    """One message of a user."""
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0) as one:
        yield one


def test_a_picture_is_described(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tgi", messages=asking(QUESTION, PICTURE), temperature=0, max_tokens=30
    )
    (choice,) = answer.choices
    assert choice.message.content == ANSWER
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    details = answer.usage.prompt_tokens_details
    assert details is not None
    image_tokens = details.to_dict()["image_tokens"]
    assert isinstance(image_tokens, int) and 0 < image_tokens < answer.usage.prompt_tokens


def test_a_second_turn_knows_the_first(client: openai.OpenAI) -> None:
    messages = asking(QUESTION, PICTURE)
    messages += [{"role": "assistant", "content": ANSWER}, *asking("How many squares are there?")]
    answer = client.chat.completions.create(
        model="tgi", messages=messages, temperature=0, max_tokens=10
    )
    assert answer.choices[0].message.content == "2"


def read_stream(chunks: Any) -> tuple[str, list[ChatCompletionChunk]]:
    """The text of a stream of one choice, and its chunks."""
    read = list(chunks)
    texts = [chunk.choices[0].delta.content or "" for chunk in read if chunk.choices]
    return "".join(texts), read


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    text, chunks = read_stream(
        client.chat.completions.create(
            model="tgi",
            messages=asking(QUESTION, PICTURE),
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert text == ANSWER
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_choices_stream_side_by_side(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tgi", messages=asking(QUESTION, PICTURE), n=2, seed=3, stream=True, max_tokens=12
    )
    texts: dict[int, str] = {0: "", 1: ""}
    reasons = []
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert all(texts.values())
    assert len(reasons) == 2


def test_logprobs_have_bytes_and_alternatives(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tgi",
        messages=asking(QUESTION, PICTURE),
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert answer.usage is not None
    assert len(logprobs.content) == answer.usage.completion_tokens
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)
    words = b"".join(bytes(token.bytes or ()) for token in logprobs.content)
    assert words.decode().startswith(ANSWER)


def test_a_stop_sequence_is_not_part_of_the_text(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "tgi",
        "messages": asking(QUESTION, PICTURE),
        "temperature": 0,
        "stop": " two",
    }
    answer = client.chat.completions.create(**asked)
    assert answer.choices[0].message.content == "a red circle and"
    assert answer.choices[0].finish_reason == "stop"
    text, _ = read_stream(client.chat.completions.create(**asked, stream=True))
    assert text == "a red circle and"


def test_a_pydantic_model_is_filled_in(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="tgi",
        messages=asking("Extract the objects as JSON.", PICTURE),
        response_format=Scene,
        temperature=0,
        max_tokens=40,
    )
    scene = answer.choices[0].message.parsed
    assert isinstance(scene, Scene)


@pytest.mark.parametrize("choice", ["required", WEATHER])
def test_arguments_satisfy_the_schema(client: openai.OpenAI, choice: Any) -> None:
    answer = client.chat.completions.create(
        model="tgi",
        messages=asking("What is the weather?"),
        tools=[WEATHER] if choice == "required" else [WEATHER, TIME],
        tool_choice=choice,
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=200,
    )
    (picked,) = answer.choices
    assert picked.finish_reason == "tool_calls"
    assert picked.message.content is None
    assert picked.message.tool_calls is not None
    (call,) = picked.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert 0 <= arguments["place"]["zip"] <= 9
    assert arguments["unit"] in ("celsius", "fahrenheit")


def test_calls_stream_piece_by_piece(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tgi",
        messages=asking("What is the weather?"),
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        stream=True,
        max_tokens=200,
    )
    chunks = [chunk.choices[0] for chunk in stream]
    pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert pieces[0].id and pieces[0].function and pieces[0].function.name == "get_weather"
    assert all(piece.id is None for piece in pieces[1:])
    assert len(pieces) > 3
    words = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert set(json.loads(words)) == {"place", "unit"}
    assert chunks[-1].finish_reason == "tool_calls"


def test_a_model_that_may_call_may_also_speak(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tgi",
        messages=asking(QUESTION, PICTURE),
        tools=[WEATHER],
        temperature=0,
        max_tokens=60,
    )
    (choice,) = answer.choices
    assert choice.message.content or choice.message.tool_calls


def test_a_refusal_is_an_exception_in_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="max_tokens"):
        client.chat.completions.create(model="tgi", messages=asking("x"), max_tokens=-1)
    with pytest.raises(openai.UnprocessableEntityError, match="guided_decoding_backend"):
        client.chat.completions.create(
            model="tgi", messages=asking("x"), extra_body={"guided_decoding_backend": "x"}
        )
    with pytest.raises(openai.UnprocessableEntityError, match="mutually exclusive"):
        client.chat.completions.create(
            model="tgi",
            messages=asking("x"),
            tools=[],
            response_format={"type": "json_object"},
        )


def test_async(server: Server) -> None:
    async def scenario() -> tuple[str | None, str]:
        asked: Any = {
            "model": "tgi",
            "messages": asking(QUESTION, PICTURE),
            "temperature": 0,
        }
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="-") as client:
            whole = await client.chat.completions.create(**asked)
            stream = await client.chat.completions.create(**asked, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole.choices[0].message.content, "".join(pieces)

    assert asyncio.run(scenario()) == (ANSWER, ANSWER)
