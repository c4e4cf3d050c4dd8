"""The embedded model answers its example pictures over HTTP as `generate` answers them directly."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from harness import EXAMPLES, Server, generate, markdown

SHAPES = EXAMPLES / "shapes.png"
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


def examples() -> list[dict[str, Any]]:
    """The committed questions about the committed pictures."""
    rows: list[dict[str, Any]] = json.loads((EXAMPLES / "answers.json").read_text())
    return rows


@pytest.mark.parametrize("kind", ["json", "json_schema"])
def test_a_picture_under_a_schema_gives_the_right_json(server: Server, kind: str) -> None:
    value = {"name": "scene", "schema": SCHEMA} if kind == "json_schema" else SCHEMA
    answer = generate(
        server,
        markdown(SHAPES) + "Extract the objects as JSON.\n\n",
        max_new_tokens=100,
        grammar={"type": kind, "value": value},
    )
    scene = json.loads(answer)
    jsonschema.validate(scene, SCHEMA)
    assert scene["count"] == 3
    kinds = sorted((thing["color"], thing["shape"]) for thing in scene["objects"])
    assert kinds == [("blue", "square"), ("blue", "square"), ("red", "circle")]


def test_a_regex_holds_the_answer(server: Server) -> None:
    question = markdown(SHAPES) + "How many objects are there?\n\n"
    grammar = {"type": "regex", "value": "[0-9]{3}"}
    answer = generate(server, question, max_new_tokens=20, grammar=grammar)
    assert len(answer) == 3
    assert answer.isdigit()


def test_the_examples_hold_every_promised_kind() -> None:
    assert len(examples()) >= 5


@pytest.mark.parametrize("example", examples(), ids=lambda e: Path(e["image"]).stem)
def test_an_example_is_answered(server: Server, example: dict[str, Any]) -> None:
    prompt = markdown(EXAMPLES / Path(example["image"]).name) + example["prompt"]
    assert generate(server, prompt, max_new_tokens=120) == example["expected"]
