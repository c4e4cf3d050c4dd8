"""What a program may hold an answer to: a schema, a class, a type, a regex, a choice, a grammar."""

import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from inlay_router.schemas import GrammarBody

AnswerGrammar: TypeAlias = Mapping[str, Any] | str | type | re.Pattern[str] | Sequence[str]
"""A JSON schema as a dict, or as text that begins with `{`; a regex as any other text, or compiled;
a pydantic model or another type that pydantic can describe; the texts to choose from, as a list or
as an Enum."""


def grammar_body(given: AnswerGrammar) -> GrammarBody:
    """As `/generate` takes it. Raises ValueError for what is none of these."""
    match given:
        case re.Pattern():
            return regex(given.pattern)
        case str():
            return schema(given) if given.lstrip().startswith("{") else regex(given)
        case Mapping():
            return schema(json.dumps(given))
        case type() if issubclass(given, Enum):
            return choice([member.value for member in given])
        case list() | tuple() if all(isinstance(each, str) for each in given):
            return choice(given)
    return schema(json.dumps(_described(given)))


def schema(text: str) -> GrammarBody:
    """JSON that satisfies the schema in this text."""
    return GrammarBody("json", msgspec.Raw(text.encode()))


def regex(pattern: str) -> GrammarBody:
    """A text that matches as a whole."""
    return GrammarBody("regex", msgspec.Raw(msgspec.json.encode(pattern)))


def choice(texts: Sequence[str]) -> GrammarBody:
    """One of these texts. Raises ValueError when there are none."""
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"a choice must hold texts, none of them empty. Given: {list(texts)!r}")
    return GrammarBody("choice", msgspec.Raw(msgspec.json.encode(list(texts))))


def context_free(source: str) -> GrammarBody:
    """A text of the language that a grammar in Lark or GBNF describes."""
    return GrammarBody("grammar", msgspec.Raw(msgspec.json.encode(source)))


def _described(kind: Any) -> dict[str, Any]:
    """The schema of a type."""
    if hasattr(kind, "model_json_schema"):
        described: dict[str, Any] = kind.model_json_schema()
        return described
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(kind).json_schema()
    except PydanticUserError as error:
        raise ValueError(f"`grammar` cannot be {kind!r}: {error}") from None
