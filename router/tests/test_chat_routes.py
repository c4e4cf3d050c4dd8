"""`/v1/chat/completions` and `/chat_tokenize` over a scripted shard, in OpenAI's shapes."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from scripted_router import AcceptingGrammars, events, post, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import Choose, scripted_facts, spell

TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}:"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    ";{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
TOOL_TEMPLATE = "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}" + TEMPLATE
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}


def facts(template: str = TEMPLATE, **named: str) -> pb.ModelFacts:
    """A scripted model that knows chats."""
    made = scripted_facts()
    made.chat_template = template
    made.named_chat_templates.update(named)
    return made


def chat(
    body: dict[str, Any],
    choose: Choose | None = None,
    *,
    path: str = "/v1/chat/completions",
    model: pb.ModelFacts | None = None,
    grammars: AcceptingGrammars | None = None,
    **config: Any,
) -> httpx.Response:
    """The response to one call on a fresh router."""
    whole = {"messages": HELLO, **body}
    grammars = grammars or AcceptingGrammars()
    return post(path, whole, choose, facts=model or facts(), grammars=grammars, **config)


def rendered(messages: list[Any], **more: Any) -> str:
    """The prompt of a chat."""
    model = more.pop("model", None)
    config = more.pop("config", {})
    response = chat({"messages": messages, **more}, path="/chat_tokenize", model=model, **config)
    assert response.status_code == 200, response.text
    text: str = response.json()["templated_text"]
    return text


def refusal(body: dict[str, Any], **options: Any) -> tuple[str, str]:
    """Type and words of a 422."""
    response = chat(body, **options)
    assert response.status_code == 422, response.text
    return response.json()["error_type"], response.json()["error"]


def test_an_answer_has_the_keys_of_openai() -> None:
    answer = chat({"temperature": 0}).json()
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "scripted"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    num_prompt_tokens = len("user:Hello;assistant:") + 1
    assert answer["usage"] == {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": 3,
        "total_tokens": num_prompt_tokens + 3,
        "prompt_tokens_details": {"cached_tokens": 0, "image_tokens": 0},
    }


def test_an_answer_that_is_cut_says_so() -> None:
    (choice,) = chat({"max_completion_tokens": 1}).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("H", "length")


def test_a_stream_is_role_then_text_then_reason_then_usage() -> None:
    response = chat({"stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = events(response)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hi"
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "stop"]
    assert choices[-1]["delta"] == {}
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert {chunk["id"] for chunk in [*chunks, last]} == {last["id"]}


def test_several_choices_have_seeds_of_their_own() -> None:
    answer = chat({"n": 2, "seed": 5}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 6
    choices = [event["choices"][0] for event in events(chat({"n": 2, "stream": True}))]
    assert {choice["index"] for choice in choices} == {0, 1}
    assert sum(choice["finish_reason"] == "stop" for choice in choices) == 2


def test_the_stop_sequence_is_left_out() -> None:
    (choice,) = chat({"stop": "l"}, spell("Hello")).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("He", "stop")
    streamed = events(chat({"stop": ["lo", "x"], "stream": True}, spell("Hello")))
    texts = [event["choices"][0]["delta"].get("content", "") for event in streamed]
    assert "".join(texts) == "Hel"


def test_openai_defaults_are_accepted_and_temperature_0_is_greedy() -> None:
    async def scenario() -> list[bool]:
        async with serve(spell("Hi"), facts=facts()) as edge, edge.client as client:
            for controls in ({"temperature": 1, "top_p": 1}, {"temperature": 0, "top_p": 0.5}):
                body = {"messages": HELLO, **controls}
                assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
            return [one.sampling.do_sample for step in edge.link.steps for one in step.joining]

    assert asyncio.run(scenario()) == [True, False]


def test_logprobs_of_every_token() -> None:
    body = {"logprobs": True, "top_logprobs": 2, "max_tokens": 1}
    (choice,) = chat(body).json()["choices"]
    (entry,) = choice["logprobs"]["content"]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("H", -0.5, [72])
    assert [top["token"] for top in entry["top_logprobs"]] == ["H", "I"]


@pytest.mark.parametrize("is_streaming", [False, True])
def test_calls_and_text_come_apart(is_streaming: bool) -> None:
    answer = 'Look: <tool_call>{"name": "f", "arguments": {"a": [1]}}</tool_call>'
    body = {"tools": [TOOL], "stream": is_streaming, "temperature": 0}
    response = chat(body, spell(answer), model=facts(TOOL_TEMPLATE))
    if is_streaming:
        choices = [event["choices"][0] for event in events(response)]
        pieces = [call for one in choices for call in one["delta"].get("tool_calls", [])]
        text = "".join(one["delta"].get("content", "") for one in choices)
        arguments = "".join(piece["function"]["arguments"] for piece in pieces)
        name, reason = pieces[0]["function"]["name"], choices[-1]["finish_reason"]
        assert pieces[0]["type"] == "function"
        assert {piece["index"] for piece in pieces} == {0}
        assert ["id" in piece for piece in pieces].count(True) == 1
    else:
        (choice,) = response.json()["choices"]
        (call,) = choice["message"]["tool_calls"]
        text, name = choice["message"]["content"], call["function"]["name"]
        arguments, reason = call["function"]["arguments"], choice["finish_reason"]
        assert len(call["id"]) == 9
    assert (text, name, reason) == ("Look:", "f", "tool_calls")
    assert json.loads(arguments) == {"a": [1]}


def test_tools_are_held_by_one_grammar() -> None:
    grammars = AcceptingGrammars()
    chat({"tools": [TOOL]}, grammars=grammars, model=facts(TOOL_TEMPLATE))
    (spec,) = grammars.specs
    assert spec.kind == "lark"
    chat({"tools": [TOOL], "tool_choice": "none"}, grammars=grammars, model=facts(TOOL_TEMPLATE))
    assert len(grammars.specs) == 1


def test_templates_see_tools_or_are_told() -> None:
    shown = rendered(HELLO, tools=[TOOL], model=facts(TOOL_TEMPLATE))
    assert shown.startswith('[{"type": "function", "function": {"name": "f"')
    told = rendered(HELLO, tools=[TOOL])
    assert '\n---\n[{"type":"function"' in told
    assert "Given the functions available" in told
    named = rendered(HELLO, tools=[TOOL], model=facts(TEMPLATE, tool_use="{{ tools }}!"))
    assert named.endswith("!")


@pytest.mark.parametrize(
    ("format", "kind", "value"),
    [
        ({"type": "json_object"}, "json", '{"type":"object"}'),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}},
            "json",
            '{"a": 1}',
        ),
        ({"type": "json_object", "value": {"a": 1}}, "json", '{"a": 1}'),
        ({"type": "json", "value": {"a": 1}}, "json", '{"a": 1}'),
        ({"type": "json_schema", "value": {"schema": {"a": 1}}}, "json", '{"a": 1}'),
        ({"type": "regex", "value": "a+"}, "regex", "a+"),
    ],
)
def test_formats_of_openai_and_of_tgi(format: Any, kind: str, value: str) -> None:
    grammars = AcceptingGrammars()
    assert chat({"response_format": format}, grammars=grammars).status_code == 200
    (spec,) = grammars.specs
    assert (spec.kind, json.loads(spec.value) if kind == "json" else spec.value) == (
        kind,
        json.loads(value) if kind == "json" else value,
    )


def test_text_is_no_format() -> None:
    grammars = AcceptingGrammars()
    assert chat({"response_format": {"type": "text"}}, grammars=grammars).status_code == 200
    assert grammars.specs == []


def test_parts_become_what_the_template_takes() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered([{"role": "user", "content": parts}]) == "<s>user:ab;assistant:"
    only_strings = facts("{% for m in messages %}{{ m.content | trim }}{% endfor %}")
    assert rendered([{"role": "user", "content": parts}], model=only_strings) == "ab"
    only_parts = facts(
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    )
    assert rendered(HELLO, model=only_parts) == "Hello"


@pytest.mark.parametrize(
    "template", [TEMPLATE, "{% for m in messages %}{{ m.content }}{% endfor %}"]
)
def test_images_stand_where_the_client_put_them(template: str) -> None:
    content = [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]
    tool = {"role": "tool", "content": [IMAGE], "tool_call_id": "1"}
    body = {"messages": [{"role": "user", "content": content}, tool]}
    answer = chat(body, model=facts(template))
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] == 8


def test_what_a_user_types_is_text() -> None:
    typed = f"![]({PIXEL}) <image> </s>"
    answer = chat({"messages": [{"role": "user", "content": typed}]})
    usage = answer.json()["usage"]
    assert usage["prompt_tokens_details"]["image_tokens"] == 0
    assert usage["prompt_tokens"] == len("user:" + typed + ";assistant:") + 1
    assert typed in rendered([{"role": "user", "content": typed}])


def test_markdown_is_an_image_where_the_operator_says_so() -> None:
    messages = [{"role": "user", "content": f"a![]({PIXEL})b"}]
    answer = chat({"messages": messages}, has_chat_markdown_images=True)
    assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] == 4


def test_an_assistants_last_message_is_continued() -> None:
    messages = [*HELLO, {"role": "assistant", "content": "So"}]
    assert rendered(messages).endswith("assistant:So")
    assert rendered(messages, add_generation_prompt=True).endswith("So;assistant:")
    assert rendered(messages, continue_final_message=False).endswith("So;assistant:")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"messages": []}, "validation", "`messages` cannot be empty"),
        ({"max_tokens": 0}, "validation", "`max_tokens` must be strictly positive. Given: 0"),
        (
            {"max_completion_tokens": -1, "max_tokens": 3},
            "validation",
            "`max_completion_tokens` must be strictly positive. Given: -1",
        ),
        ({"max_tokens": 10**6}, "validation", "tokens and 1000000 `max_tokens`"),
        (
            {"max_completion_tokens": 10**6},
            "validation",
            "tokens and 1000000 `max_completion_tokens`",
        ),
        ({"n": 9}, "validation", "`n` must be > 0 and <= 2. Given: 9"),
        ({"top_logprobs": 1}, "validation", "`top_logprobs` needs `logprobs` to be true"),
        ({"guided_decoding_backend": "x"}, "validation", "unknown field `guided_decoding_backend`"),
        ({"stream_options": {"x": 1}}, "validation", "unknown field `x`"),
        ({"guideline": "x"}, "validation", "`guideline` is not known"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "validation",
            "`messages[0].content[0]`: `type` must be `text` or `image_url`. Given: `audio`",
        ),
        ({"response_format": {"type": "yaml"}}, "validation", "`response_format.type` must be"),
        ({"response_format": {"type": "regex"}}, "validation", "needs a `value`"),
        (
            {"response_format": {"type": "json_object"}, "tools": []},
            "tool_error",
            "Tool error: Grammar and tools are mutually exclusive",
        ),
        ({"tools": [TOOL], "tool_choice": "g"}, "tool_error", "Tool with name g not found"),
        ({"tool_choice": "required"}, "tool_error", "`tool_choice` needs `tools`"),
        ({"tools": [TOOL, TOOL]}, "tool_error", "two functions have the name f"),
    ],
)
def test_refusals_name_the_field(body: dict[str, Any], kind: str, words: str) -> None:
    error_type, error = refusal(body)
    assert error_type == kind
    assert words in error


def test_a_model_without_a_template_says_so() -> None:
    assert refusal({}, model=scripted_facts()) == (
        "template_error",
        "Template error: template not found",
    )


def test_the_tokens_of_a_chat() -> None:
    answer = chat({}, path="/chat_tokenize").json()
    assert answer["templated_text"] == "<s>user:Hello;assistant:"
    tokens = answer["tokenize_response"]
    assert "".join(token["text"] for token in tokens) == answer["templated_text"]
    assert tokens[0] == {"id": 256, "text": "<s>", "start": 0, "stop": 3}
