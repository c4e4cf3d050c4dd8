"""What an answer may be held to, in the forms that programs write."""

import json
import re
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from inlay.offline.answer_grammar import AnswerGrammar, grammar_body


class Scene(BaseModel):
    count: int


class Opaque:
    pass


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def parts(given: AnswerGrammar) -> tuple[str, Any]:
    body = grammar_body(given)
    return body.type, json.loads(bytes(body.value))


@pytest.mark.parametrize("given", [{"type": "integer"}, ' {"type": "integer"}'])
def test_a_schema_is_a_dict_or_its_text(given: AnswerGrammar) -> None:
    assert parts(given) == ("json", {"type": "integer"})


@pytest.mark.parametrize("given", [r"\d{3}", re.compile(r"\d{3}")])
def test_other_texts_are_regexes(given: AnswerGrammar) -> None:
    assert parts(given) == ("regex", r"\d{3}")


def test_a_class_of_pydantic_is_its_schema() -> None:
    assert parts(Scene) == ("json", Scene.model_json_schema())


def test_other_types_are_described_by_pydantic() -> None:
    kind, schema = parts(list[Scene])
    assert kind == "json" and schema["type"] == "array"
    assert parts(Literal["a", "b"])[1]["enum"] == ["a", "b"]  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [["red", "blue"], ("red", "blue"), Colour])
def test_a_choice_is_one_of_its_texts(given: AnswerGrammar) -> None:
    assert parts(given) == ("choice", ["red", "blue"])


@pytest.mark.parametrize("given", [[], [""], ()])
def test_a_choice_of_nothing_is_refused(given: AnswerGrammar) -> None:
    with pytest.raises(ValueError, match="a choice must hold texts"):
        grammar_body(given)


def test_a_type_without_a_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="`grammar` cannot be"):
        grammar_body(Opaque)
