"""The embedded model answers its example pictures over HTTP as `generate` answers them directly."""

import json
from typing import Any

import jsonschema
import pytest
from harness import EXAMPLES, Server, generate, markdown
from transformers import AutoProcessor

from inlay.model_folder import EMBEDDED_MODEL

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
    """The committed questions about the committed pictures, plain and through the chat template."""
    rows: list[dict[str, Any]] = json.loads((EXAMPLES / "answers.json").read_text())
    return rows


def prompt_of(example: dict[str, Any]) -> str:
    """The example as `inputs` of a request."""
    picture = markdown(EXAMPLES / example["image"])
    if not example["chat"]:
        return f"{picture}{example['prompt']}\n\n"
    processor = AutoProcessor.from_pretrained(EMBEDDED_MODEL)
    content = [{"type": "image"}, {"type": "text", "text": example["prompt"]}]
    messages = [{"role": "user", "content": content}]
    text: str = processor.apply_chat_template(messages, add_generation_prompt=True)
    return text.replace(processor.image_token, picture)


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


def test_the_examples_are_there() -> None:
    assert {example["image"] for example in examples()} >= {"shapes.png", "four.webp"}
    assert {example["chat"] for example in examples()} == {True, False}


@pytest.mark.parametrize(
    "example", examples(), ids=lambda e: f"{e['image']}-{'chat' if e['chat'] else 'plain'}"
)
def test_an_example_is_answered(server: Server, example: dict[str, Any]) -> None:
    assert generate(server, prompt_of(example), max_new_tokens=120) == example["answer"]
