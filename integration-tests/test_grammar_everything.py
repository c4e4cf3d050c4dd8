"""Grammars beside everything else that a request may ask for, in budgets that are tight."""

import json
from typing import Any

import jsonschema
import pytest
from budgets import fewest_tokens, needed
from harness import EXAMPLES, Server, generate, markdown, post, stream

PICTURE = markdown(EXAMPLES / "shapes.png")
QUESTION = PICTURE + "Extract the objects as JSON.\n\n"
GRAMMAR = json.loads((EXAMPLES / "scene-grammar.json").read_text())
SCHEMA: dict[str, Any] = GRAMMAR["value"]


def ask(server: Server, inputs: str, **parameters: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The answer with details, and the headers."""
    body = {"inputs": inputs, "parameters": {"details": True} | parameters}
    status, answer, headers = post(f"{server.url}/generate", body)
    assert status == 200, answer
    return answer, headers


@pytest.mark.parametrize("inputs", [QUESTION, "Once upon a time"])
@pytest.mark.parametrize("room", [0, 1, 7])
@pytest.mark.parametrize("controls", [{}, {"temperature": 2.0, "seed": 5}], ids=["greedy", "drawn"])
def test_an_answer_fits_the_smallest_budget(
    server: Server, inputs: str, room: int, controls: dict[str, Any]
) -> None:
    budget = fewest_tokens(server, GRAMMAR) + room
    answer, headers = ask(server, inputs, max_new_tokens=budget, grammar=GRAMMAR, **controls)
    jsonschema.validate(json.loads(answer["generated_text"]), SCHEMA)
    assert answer["details"]["generated_tokens"] <= budget
    assert answer["details"]["finish_reason"] == "eos_token"
    is_shortened = answer["details"].get("grammar_shortened", False)
    assert headers.get("x-grammar-shortened") == ("true" if is_shortened else None)


def test_an_answer_about_three_objects_is_shortened_and_says_so(server: Server) -> None:
    budget = fewest_tokens(server, GRAMMAR) + 7
    answer, _ = ask(server, QUESTION, max_new_tokens=budget, grammar=GRAMMAR)
    assert answer["details"]["grammar_shortened"] is True
    events = list(stream(server, QUESTION, max_new_tokens=budget, grammar=GRAMMAR, details=True))
    assert events[-1]["generated_text"] == answer["generated_text"]
    assert events[-1]["details"]["grammar_shortened"] is True
    ample, headers = ask(server, QUESTION, max_new_tokens=100, grammar=GRAMMAR)
    assert "grammar_shortened" not in ample["details"]
    assert "x-grammar-shortened" not in headers


def test_best_of_many_controls_and_a_stop_sequence(server: Server) -> None:
    budget = fewest_tokens(server, GRAMMAR) + 12
    controls = {"temperature": 1.5, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.2}
    answer, _ = ask(
        server,
        QUESTION,
        max_new_tokens=budget,
        grammar=GRAMMAR,
        best_of=2,
        top_n_tokens=2,
        **controls,
    )
    others = answer["details"]["best_of_sequences"]
    for text in [answer["generated_text"], *(other["generated_text"] for other in others)]:
        jsonschema.validate(json.loads(text), SCHEMA)
    stopped = generate(server, QUESTION, max_new_tokens=100, grammar=GRAMMAR, stop=['"count"'])
    assert stopped.endswith('"count"')


def test_a_chat_with_a_schema_and_a_picture(server: Server) -> None:
    content = [
        {"type": "image_url", "image_url": {"url": PICTURE[4:-1]}},
        {"type": "text", "text": "Extract the objects as JSON."},
    ]
    body = {
        "messages": [{"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "max_tokens": fewest_tokens(server, GRAMMAR) + 5,
        "n": 2,
        "temperature": 1.2,
    }
    status, answer, headers = post(f"{server.url}/v1/chat/completions", body)
    assert status == 200, answer
    assert len(answer["choices"]) == 2
    for choice in answer["choices"]:
        jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
        assert choice["finish_reason"] == "stop"
    is_any = any(choice.get("grammar_shortened") for choice in answer["choices"])
    assert headers.get("x-grammar-shortened") == ("true" if is_any else None)


@pytest.mark.parametrize("room", [0, 3])
def test_a_call_of_a_tool_fits_the_smallest_budget(server: Server, room: int) -> None:
    tool = {"type": "function", "function": {"name": "report", "parameters": SCHEMA}}
    asked = {
        "messages": [{"role": "user", "content": "Report what you see."}],
        "tools": [tool],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 1.5,
        "seed": 3,
    }
    path = "/v1/chat/completions"
    budget = needed(server, path, asked | {"max_tokens": 1}) + room
    status, answer, _ = post(server.url + path, asked | {"max_tokens": budget})
    assert status == 200, answer
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)
    assert choice["finish_reason"] == "tool_calls"
    assert answer["usage"]["completion_tokens"] <= budget


def test_leniency_is_told(server: Server) -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "maxItems": 3}
    format = {"type": "json_schema", "value": {"name": "x", "schema": schema, "strict": False}}
    answer, headers = ask(server, "x", max_new_tokens=40, grammar=format)
    assert len(json.loads(answer["generated_text"])) <= 3
    assert answer["details"]["grammar_warnings"] == ["`uniqueItems` at `/uniqueItems`"]
    assert json.loads(headers["x-grammar-warnings"]) == answer["details"]["grammar_warnings"]


@pytest.mark.parametrize(
    "asked",
    [
        {"guided_choice": ["red", "green"]},
        {"guided_regex": "red|green"},
        {"guided_grammar": 'start: "red" | "green"'},
        {"structured_outputs": {"choice": ["red", "green"]}},
        {"response_format": {"type": "choice", "value": ["red", "green"]}},
        {"response_format": {"type": "grammar", "value": 'root ::= "red" | "green"'}},
    ],
)
def test_vllms_fields_hold_answers(server: Server, asked: dict[str, Any]) -> None:
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 20, **asked}
    _, answer, _ = post(f"{server.url}/v1/chat/completions", chat)
    assert answer["choices"][0]["message"]["content"] in ("red", "green")
    _, answer, _ = post(f"{server.url}/v1/completions", {"prompt": "x", "max_tokens": 20, **asked})
    assert answer["choices"][0]["text"] in ("red", "green")


def test_a_grammar_without_a_finite_answer_is_refused(server: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    parameters = {"grammar": {"type": "json", "value": schema}}
    status, body, _ = post(f"{server.url}/generate", {"inputs": "x", "parameters": parameters})
    assert status == 422
    assert "finite" in body["error"]
