"""The grammar that a body of OpenAI's routes asks for, in OpenAI's words, TGI's or vLLM's."""

from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from inlay_router.errors import ValidationError
from inlay_router.schemas import GrammarBody

_ANY_OBJECT = {"type": "object"}
_WITH_VALUE = ("json", "json_schema", "json_object", "regex", "choice", "grammar")


class ResponseFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """OpenAI's `text`, `json_object`, `json_schema`; TGI's `json`, `regex` and others."""

    type: str
    json_schema: dict[str, Any] | None = None
    """OpenAI: `{"name", "schema", "strict"?}`."""
    value: dict[str, Any] | list[Any] | str | None = None
    """TGI: a schema, a named schema, a regex, choices or a grammar, as for `grammar` of
    `/generate`."""


class StructuredOutputs(Struct, frozen=True, forbid_unknown_fields=True):
    """vLLM's `structured_outputs`: one of these."""

    json: dict[str, Any] | str | None = None
    """A schema, or its text."""
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    """In Lark or GBNF."""
    json_object: bool | None = None
    """Any object."""


class Asking(Protocol):
    """What may ask for a grammar: the bodies of chats and completions."""

    @property
    def response_format(self) -> ResponseFormat | None:
        """OpenAI's and TGI's."""

    @property
    def structured_outputs(self) -> StructuredOutputs | None:
        """vLLM's, as are those below, which are older."""

    @property
    def guided_json(self) -> dict[str, Any] | str | None:
        """A schema, or its text."""

    @property
    def guided_regex(self) -> str | None:
        """What the whole answer matches."""

    @property
    def guided_choice(self) -> list[str] | None:
        """What the answer is one of."""

    @property
    def guided_grammar(self) -> str | None:
        """In Lark or GBNF."""


def asked_grammar(body: Asking, grammar: GrammarBody | None = None) -> GrammarBody | None:
    """The one grammar that `body` asks for; `grammar` is that of its field of this name.

    Raises ValidationError when there are several, naming their fields.
    """
    asked = {
        "grammar": grammar,
        "response_format": _of_format(body.response_format),
        "structured_outputs": _of_outputs(body.structured_outputs),
        "guided_json": _of_value("json", body.guided_json),
        "guided_regex": _of_value("regex", body.guided_regex),
        "guided_choice": _of_value("choice", body.guided_choice),
        "guided_grammar": _of_value("grammar", body.guided_grammar),
    }
    given = {name: one for name, one in asked.items() if one is not None}
    if len(given) > 1:
        names = ", ".join(f"`{name}`" for name in given)
        raise ValidationError(f"an answer can be held to one grammar. Given: {names}")
    return next(iter(given.values()), None)


def _of_format(format: ResponseFormat | None) -> GrammarBody | None:
    """OpenAI's spellings, and TGI's, which have a `value`; None for text."""
    if format is None or format.type == "text":
        return None
    if format.type not in _WITH_VALUE:
        *names, last = (f"`{name}`" for name in ("text", *_WITH_VALUE))
        raise ValidationError(
            f"`response_format.type` must be {', '.join(names)} or {last}. "
            f"Given: `{format.type[:40]}`"
        )
    if format.value is not None:
        return _of_value(format.type, format.value)
    if format.type == "json_object":
        return _of_value("json", _ANY_OBJECT)
    if format.type == "json_schema" and format.json_schema is not None:
        return _of_value("json_schema", format.json_schema)
    name = "json_schema" if format.type == "json_schema" else "value"
    raise ValidationError(f"`response_format` of type `{format.type}` needs a `{name}`")


def _of_outputs(outputs: StructuredOutputs | None) -> GrammarBody | None:
    if outputs is None:
        return None
    asked = msgspec.structs.asdict(outputs)
    is_any_object = asked.pop("json_object")
    given = {kind: value for kind, value in asked.items() if value is not None}
    names = [*given, *(["json_object"] if is_any_object else [])]
    if len(names) != 1:
        words = ", ".join(f"`{name}`" for name in names) or "none"
        raise ValidationError(
            "`structured_outputs` must hold one of `json`, `regex`, `choice`, `grammar` and "
            f"`json_object`. Given: {words}"
        )
    if is_any_object:
        return _of_value("json", _ANY_OBJECT)
    ((kind, value),) = given.items()
    return _of_value(kind, value)


def _of_value(kind: str, value: object) -> GrammarBody | None:
    """As `/generate` takes it; None for no value."""
    return None if value is None else GrammarBody(kind, Raw(msgspec.json.encode(value)))
