"""From the `grammar` of a request to the constraint that shards hold; its text is not compiled."""

import msgspec

from inlay_proto import generate_pb2 as pb
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GrammarBody


def grammar_of(body: GrammarBody, limits: Limits) -> pb.Grammar:
    """Raises ValidationError when there is no constraint in `body`."""
    if not limits.has_grammars:
        raise ValidationError("grammar is not supported")
    if body.type == "regex":
        return pb.Grammar(kind=pb.Grammar.KIND_REGEX, value=_regex(body.value))
    if body.type in ("json", "json_object"):
        return pb.Grammar(kind=pb.Grammar.KIND_JSON, value=_schema(body.value))
    if body.type == "json_schema":
        return pb.Grammar(kind=pb.Grammar.KIND_JSON, value=_named_schema(body.value))
    raise ValidationError(
        "grammar is not valid: `type` must be `json`, `json_object`, `json_schema` or `regex`. "
        f"Given: `{body.type[:40]}`"
    )


def _regex(value: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(value, type=str)
    except msgspec.ValidationError:
        raise ValidationError("grammar is not valid: `value` of a regex must be a string") from None


def _schema(value: msgspec.Raw) -> str:
    """The text of a schema that came as an object, or as a string that holds one."""
    if bytes(value).startswith(b'"'):
        return msgspec.json.decode(value, type=str)
    return _object_text(value, "grammar is not supported")


def _named_schema(value: msgspec.Raw) -> str:
    try:
        named = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        named = {}
    if "schema" not in named:
        raise ValidationError("grammar is not valid: `value` must be an object with a `schema`")
    return _object_text(named["schema"], "grammar is not valid: `schema` must be an object")


def _object_text(value: msgspec.Raw, otherwise: str) -> str:
    text = bytes(value).decode()
    if not text.startswith("{"):
        raise ValidationError(otherwise)
    return text
