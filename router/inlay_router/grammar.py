"""From the `grammar` of a request to the constraint that shards hold; its text is not compiled."""

import msgspec

from inlay_grammars.options import backend_choice, whitespace_named
from inlay_grammars.spec import GrammarKind, GrammarSpec
from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GrammarBody

_KINDS: dict[pb.Grammar.Kind, GrammarKind] = {
    pb.Grammar.KIND_JSON: "json",
    pb.Grammar.KIND_REGEX: "regex",
    pb.Grammar.KIND_LARK: "lark",
    pb.Grammar.KIND_CHOICE: "choice",
    pb.Grammar.KIND_GRAMMAR: "grammar",
}
_ANY_OBJECT = '{"type": "object"}'


def grammar_of(body: GrammarBody, limits: Limits) -> pb.Grammar:
    """Raises ValidationError when there is no constraint in `body`."""
    if not limits.has_grammars:
        raise ValidationError("grammar is not supported")
    if not body.value and body.type != "json_object":
        raise ValidationError("grammar is not valid: `value` is missing")
    try:
        grammar = _constraint(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Until now nobody has looked at what stands in it, but for where it ends.
        raise ValidationError("grammar is not valid: `value` must be JSON in UTF-8") from None
    grammar.backend = limits.grammar_backend
    grammar.whitespace = limits.grammar_whitespace
    return grammar


def spec_of(grammar: pb.Grammar) -> GrammarSpec:
    """What the compile pool tries."""
    return GrammarSpec(
        kind=_KINDS[grammar.kind],
        value=grammar.value,
        is_strict=not grammar.is_lenient,
        backend=backend_choice(grammar.backend),
        whitespace=whitespace_named(grammar.whitespace),
    )


def accepted(grammar: pb.Grammar, verdict: Verdict) -> pb.Grammar:
    """The same constraint as shards get it, by the backend that was found to do."""
    grammar = pb.Grammar.FromString(grammar.SerializeToString())
    grammar.backend = verdict.backend
    if verdict.lark is not None:
        grammar.kind, grammar.value = pb.Grammar.KIND_LARK, verdict.lark
    return grammar


def _constraint(body: GrammarBody) -> pb.Grammar:
    match body.type:
        case "regex":
            return pb.Grammar(kind=pb.Grammar.KIND_REGEX, value=_text(body))
        case "json_object" if not body.value:
            return pb.Grammar(kind=pb.Grammar.KIND_JSON, value=_ANY_OBJECT)
        case "json" | "json_object":
            return pb.Grammar(kind=pb.Grammar.KIND_JSON, value=_schema(body.value))
        case "json_schema":
            return _named_schema(body.value)
        case "choice":
            return pb.Grammar(kind=pb.Grammar.KIND_CHOICE, value=bytes(body.value).decode())
        case "grammar":
            return pb.Grammar(kind=pb.Grammar.KIND_GRAMMAR, value=_text(body))
    raise ValidationError(
        "grammar is not valid: `type` must be `json`, `json_object`, `json_schema`, `regex`, "
        f"`choice` or `grammar`. Given: `{body.type[:40]}`"
    )


def _text(body: GrammarBody) -> str:
    try:
        return msgspec.json.decode(body.value, type=str)
    except msgspec.ValidationError:
        raise ValidationError(
            f"grammar is not valid: `value` of a {body.type} must be a string"
        ) from None


def _schema(value: msgspec.Raw) -> str:
    """The text of a schema that came as an object, or as a string that holds one."""
    if bytes(value).startswith(b'"'):
        return msgspec.json.decode(value, type=str)
    return _object_text(value, "grammar is not supported")


def _named_schema(value: msgspec.Raw) -> pb.Grammar:
    """`{"name", "schema", "strict"}`; leniency is only by a `strict` that is false."""
    try:
        named = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        named = {}
    if "schema" not in named:
        raise ValidationError("grammar is not valid: `value` must be an object with a `schema`")
    text = _object_text(named["schema"], "grammar is not valid: `schema` must be an object")
    is_lenient = bytes(named.get("strict", b"")) == b"false"
    return pb.Grammar(kind=pb.Grammar.KIND_JSON, value=text, is_lenient=is_lenient)


def _object_text(value: msgspec.Raw, otherwise: str) -> str:
    text = bytes(value).decode()
    if not text.startswith("{"):
        raise ValidationError(otherwise)
    return text
