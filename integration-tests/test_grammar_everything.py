"""Grammars beside everything else that a request may ask for, in budgets that are tight."""

import json
import re
from typing import Any

import jsonschema
import pytest
from harness import EXAMPLES, Server, generate, markdown, post, stream

PICTURE = markdown(EXAMPLES / "shapes.png")
QUESTION = PICTURE + "Extract the objects as JSON.\n\n"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"shape": {"type": "string"}, "color": {"type": "string"}},
                "required": ["shape", "color"],
                "additionalProperties": False,
            },
        },
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["objects", "count"],
    "additionalProperties": False,
}
GRAMMAR = {"type": "json", "value": SCHEMA}
NEEDED = re.compile(r"must be >= (\d+): the shortest answer found in the `grammar`")


def fewest_tokens(server: Server, grammar: dict[str, Any]) -> int:
    """What the server says an answer needs at least."""
    parameters = {"max_new_tokens": 1, "grammar": grammar}
    status, body, _ = post(f"{server.url}/generate", {"inputs": "x", "parameters": parameters})
    assert status == 422, body
    found = NEEDED.search(body["error"])
    assert found, body
    return int(found.group(1))


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


def test_a_grammar_without_a_finite_answer_is_refused(server: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    parameters = {"grammar": {"type": "json", "value": schema}}
    status, body, _ = post(f"{server.url}/generate", {"inputs": "x", "parameters": parameters})
    assert status == 422
    assert "finite" in body["error"]
