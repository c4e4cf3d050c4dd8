"""`langchain-openai`, which agents and chains are built on: answers, streams, types and tools."""

import asyncio
from typing import Any

import pytest
from harness import EXAMPLES, Server, data_uri
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

URI = data_uri(EXAMPLES / "shapes.png")
OPENAI_IMAGE: Any = {"type": "image_url", "image_url": {"url": URI}}
LANGCHAIN_IMAGE: Any = {
    "type": "image",
    "base64": URI.partition(",")[2],
    "mime_type": "image/png",
}
ANSWER = "a red circle and two blue squares"


class Scene(BaseModel):
    """What is in a picture."""

    count: int = Field(ge=0, le=9)


@tool
def count_squares(least: int) -> int:
    """Count the squares of a picture that has `least` of them or more."""
    return 2


def asking(text: str, image: Any = OPENAI_IMAGE) -> list[Any]:
    """One message with a picture."""
    return [HumanMessage([image, {"type": "text", "text": text}])]


@pytest.fixture
def model(server: Server) -> ChatOpenAI:
    options: Any = {"base_url": f"{server.url}/v1", "api_key": "-", "max_tokens": 100}
    return ChatOpenAI(model="tgi", temperature=0, max_retries=0, **options)


@pytest.mark.parametrize("image", [OPENAI_IMAGE, LANGCHAIN_IMAGE])
def test_a_picture_is_described(model: ChatOpenAI, image: Any) -> None:
    answer = model.invoke(asking("What is this a picture of?", image))
    assert answer.content == ANSWER
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 3


def test_a_stream_with_usage(model: ChatOpenAI) -> None:
    question = asking("What is this a picture of?")
    chunks = list(model.stream(question, stream_usage=True))
    assert "".join(str(chunk.content) for chunk in chunks) == ANSWER
    assert [chunk.usage_metadata is not None for chunk in chunks].count(True) == 1


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_of_a_type(model: ChatOpenAI, method: Any) -> None:
    typed = model.with_structured_output(Scene, method=method, strict=True)
    assert isinstance(typed.invoke(asking("How many objects are there?")), Scene)


def test_a_tool_is_called_and_its_result_read(model: ChatOpenAI) -> None:
    question = asking("How many squares are there?")
    forced = model.bind_tools([count_squares], tool_choice="count_squares", strict=True)
    called = forced.invoke(question)
    (call,) = called.tool_calls
    assert call["name"] == "count_squares"
    assert isinstance(call["args"]["least"], int)
    result = count_squares.invoke(call)
    assert result.tool_call_id == call["id"]
    last = model.bind_tools([count_squares]).invoke([*question, called, result])
    assert isinstance(last, AIMessage)
    assert last.content or last.tool_calls


def test_a_streamed_call_joins_to_the_whole_one(model: ChatOpenAI) -> None:
    forced = model.bind_tools([count_squares], tool_choice="any", strict=True)
    question = asking("How many squares are there?")
    joined = AIMessageChunk(content="")
    for chunk in forced.stream(question):
        joined += chunk  # type: ignore[assignment]
    (whole,) = forced.invoke(question).tool_calls
    (call,) = joined.tool_calls
    assert (call["name"], call["args"]) == (whole["name"], whole["args"])


def test_async_side_by_side(model: ChatOpenAI) -> None:
    async def scenario() -> list[str]:
        questions: Any = [asking("What is this a picture of?")] * 3
        return [str(answer.content) for answer in await model.abatch(questions)]

    assert asyncio.run(scenario()) == [ANSWER] * 3
