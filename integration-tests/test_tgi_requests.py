"""The requests of TGI's own integration tests: fields and validity instead of one model's words."""

import base64
import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from harness import EXAMPLES, Server, data_uri, markdown, post
from PIL import Image

PICTURE = EXAMPLES / "shapes.png"
QUESTION = markdown(PICTURE) + "What is this a picture of?\n\n"
ANSWER = "a red circle and two blue squares"
TEXT = [{"role": "user", "content": "What is deep learning?"}]
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "maxLength": 12},
        "format": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location", "format"],
    "additionalProperties": False,
}
DAYS = {
    **WEATHER,
    "properties": {**WEATHER["properties"], "num_days": {"type": "integer", "maximum": 99}},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
    for name, schema in (("get_current_weather", WEATHER), ("get_n_day_weather_forecast", DAYS))
]
PERSON: dict[str, Any] = {
    "type": "object",
    "$defs": {"Pet": {"enum": ["cat", "dog"]}},
    "properties": {
        "numCats": {"type": "integer", "minimum": 0, "maximum": 9},
        "pets": {"type": "array", "items": {"$ref": "#/$defs/Pet"}, "minItems": 1, "maxItems": 3},
        "address": {
            "type": "object",
            "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["zip"],
            "additionalProperties": False,
        },
    },
    "required": ["numCats", "pets", "address"],
    "additionalProperties": False,
}


def answer(server: Server, route: str, body: object) -> Any:
    """The JSON of an answer that is well."""
    status, answered, _ = post(server.url + route, body)
    assert status == 200, answered
    return answered


def generate(server: Server, inputs: str, **parameters: object) -> Any:
    """An answer with its details."""
    asked = {"max_new_tokens": 10, "details": True, **parameters}
    return answer(server, "/generate", {"inputs": inputs, "parameters": asked})


def chat(server: Server, messages: object, **controls: object) -> Any:
    """A greedy answer to a chat."""
    body = {"messages": messages, "temperature": 0, "max_tokens": 100, **controls}
    return answer(server, "/v1/chat/completions", body)


def choice(server: Server, messages: object, **controls: object) -> Any:
    (one,) = chat(server, messages, **controls)["choices"]
    return one


def events(server: Server, route: str, body: dict[str, Any]) -> Iterator[Any]:
    """The events of a stream of /v1, whose end mark has come."""
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(server.url + route, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        lines = [line.decode().strip() for line in reply if line.strip()]
    assert lines.pop() == "data: [DONE]"
    return (json.loads(line.removeprefix("data: ")) for line in lines)


def at_once(ask: Callable[[], Any]) -> list[Any]:
    """Four times the same, side by side: what TGI's tests call a load."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda _: ask(), range(4)))


def asking(text: str, *uris: str) -> list[Any]:
    """A message with pictures."""
    parts = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def encoded(mode: str, kind: str) -> str:
    """The picture in another format."""
    buffer = io.BytesIO()
    Image.open(PICTURE).convert(mode).save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_a_load_is_answered_as_one(server: Server) -> None:
    alone = generate(server, QUESTION)
    assert alone["details"]["generated_tokens"] == len(alone["details"]["tokens"]) <= 10
    assert [one["generated_text"] for one in at_once(lambda: generate(server, QUESTION))] == (
        [alone["generated_text"]] * 4
    )


def test_a_text_ends_with_its_stop_sequence(server: Server) -> None:
    stopped = generate(server, QUESTION, stop=["circle"])
    assert stopped["generated_text"].endswith("circle")
    assert stopped["details"]["finish_reason"] == "stop_sequence"


def test_a_regex_alone_and_under_load(server: Server) -> None:
    address = r"((25[0-5]|2[0-4]\d|[01]?\d\d?)\.){3}(25[0-5]|2[0-4]\d|[01]?\d\d?)"
    grammar = {"type": "regex", "value": address}

    def ask() -> Any:
        return generate(server, "Whats Googles DNS", grammar=grammar, max_new_tokens=20)

    alone = ask()["generated_text"]
    assert [0 <= int(number) <= 255 for number in alone.split(".")] == [True] * 4
    assert [one["generated_text"] for one in at_once(ask)] == [alone] * 4


@pytest.mark.parametrize("type", ["json", "json_schema"])
def test_a_schema_on_generate(server: Server, type: str) -> None:
    value = PERSON if type == "json" else {"name": "person", "schema": PERSON}
    grammar = {"type": type, "value": value}
    text = generate(server, "info: david", grammar=grammar, max_new_tokens=120)["generated_text"]
    jsonschema.validate(json.loads(text), PERSON)


def test_formats_in_every_spelling_of_tgi_mean_the_same(server: Server) -> None:
    named = {"name": "person", "strict": True, "schema": PERSON}
    formats = [
        {"type": "json_object", "value": PERSON},
        {"type": "json", "value": PERSON},
        {"type": "json_schema", "value": named},
        {"type": "json_schema", "json_schema": named},
    ]
    texts = {choice(server, TEXT, response_format=one)["message"]["content"] for one in formats}
    (text,) = texts
    jsonschema.validate(json.loads(text), PERSON)


def test_a_streamed_format_joins_to_valid_json(server: Server) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    body = {"messages": TEXT, "response_format": format, "temperature": 0, "max_tokens": 120}
    chunks = list(events(server, "/v1/chat/completions", body))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    jsonschema.validate(json.loads(text), PERSON)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_format_and_tools_exclude_each_other(server: Server) -> None:
    body = {"messages": TEXT, "tools": [], "response_format": {"type": "json", "value": PERSON}}
    status, refusal, _ = post(f"{server.url}/v1/chat/completions", body)
    assert status == 422
    assert refusal == {
        "error": "Tool error: Grammar and tools are mutually exclusive",
        "error_type": "tool_error",
    }


@pytest.mark.parametrize(
    "tool_choice",
    [
        "required",
        "get_current_weather",
        {"function": {"name": "get_current_weather"}},
        {"type": "function", "function": {"name": "get_current_weather"}},
    ],
)
def test_tools_that_must_be_called(server: Server, tool_choice: Any) -> None:
    tools = TOOLS[:1] if tool_choice == "required" else TOOLS
    asked = {"tools": tools, "tool_choice": tool_choice, "parallel_tool_calls": False}
    one = choice(server, TEXT, **asked)
    (call,) = one["message"]["tool_calls"]
    assert one["finish_reason"] == "tool_calls"
    assert one["message"]["content"] is None
    assert (call["type"], call["function"]["name"]) == ("function", "get_current_weather")
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER)


def test_tools_in_a_stream(server: Server) -> None:
    body = {"messages": TEXT, "tools": TOOLS, "tool_choice": "get_n_day_weather_forecast"}
    more = {"parallel_tool_calls": False, "temperature": 0, "max_tokens": 100}
    chunks = [one["choices"][0] for one in events(server, "/v1/chat/completions", {**body, **more})]
    calls = [call for chunk in chunks for call in chunk["delta"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "get_n_day_weather_forecast"
    assert {call["index"] for call in calls} == {0}
    text = "".join(call["function"].get("arguments") or "" for call in calls)
    jsonschema.validate(json.loads(text), DAYS)
    assert chunks[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("tool_choice", ["none", "auto", None])
def test_tools_that_need_not_be_called(server: Server, tool_choice: str | None) -> None:
    asked: dict[str, Any] = {"tools": TOOLS, "tool_choice": tool_choice}
    one = choice(server, asking("What is this a picture of?", data_uri(PICTURE)), **asked)
    calls = one["message"].get("tool_calls")
    assert one["message"]["content"] or (calls and tool_choice != "none")
    assert (one["finish_reason"] == "tool_calls") is bool(calls)


def test_the_answer_of_a_tool_is_read(server: Server) -> None:
    call = {"name": "get_current_weather", "arguments": '{"location": "Paris"}'}
    messages = [
        *TEXT,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "0", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "0", "content": "6.7 degrees"},
    ]
    assert choice(server, messages, max_tokens=20)["message"]["content"]


def test_an_unfinished_answer_is_continued(server: Server) -> None:
    question = asking("What is this a picture of?", data_uri(PICTURE))
    begun = [*question, {"role": "assistant", "content": "a red circle and"}]
    assert choice(server, question)["message"]["content"] == ANSWER
    assert choice(server, begun)["message"]["content"].strip() == "two blue squares"


def test_four_prompts_get_four_completions(server: Server) -> None:
    body = {"prompt": ["Hello", QUESTION, "Say", "this"], "max_tokens": 10, "temperature": 0}
    whole = answer(server, "/v1/completions", body)["choices"]
    assert [one["index"] for one in whole] == [0, 1, 2, 3]
    texts = dict.fromkeys(range(4), "")
    for event in events(server, "/v1/completions", body):
        for one in event["choices"]:
            texts[one["index"]] += one["text"]
    assert list(texts.values()) == [one["text"] for one in whole]


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "png"), ("RGB", "png"), ("RGB", "jpeg")])
def test_images_of_every_format_count_the_same(server: Server, mode: str, kind: str) -> None:
    expected = chat(server, asking("What is this a picture of?", data_uri(PICTURE)))["usage"]
    got = chat(server, asking("What is this a picture of?", encoded(mode, kind)))
    assert got["usage"]["prompt_tokens"] == expected["prompt_tokens"]
    assert got["choices"][0]["message"]["content"]


def test_images_of_a_chat_under_load(server: Server) -> None:
    messages = asking("What is this a picture of?", data_uri(PICTURE))
    assert [one["message"]["content"] for one in at_once(lambda: choice(server, messages))] == (
        [ANSWER] * 4
    )


def test_two_images_cost_twice_the_tokens(server: Server) -> None:
    def image_tokens(*uris: str) -> int:
        usage = chat(server, asking("What are these?", *uris))["usage"]
        return int(usage["prompt_tokens_details"]["image_tokens"])

    uri = data_uri(PICTURE)
    assert image_tokens(uri, uri) == 2 * image_tokens(uri) > 0
    both = generate(server, markdown(PICTURE) * 2 + "What are these?\n\n")
    assert both["generated_text"]
