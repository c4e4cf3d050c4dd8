"""Tools of a chat and formats of its answer: the grammar that holds, the calls that come apart."""

import json
from typing import Any

import pytest
from scripted_chats import HELLO, TEMPLATE, TOOL, TOOL_TEMPLATE, chat, facts, rendered
from scripted_router import AcceptingGrammars, events

from inlay_router.links.scripted_shard import spell


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
