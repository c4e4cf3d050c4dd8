"""JSON schemas as backends get them: with our options, and an object where TGI means one."""

import copy
import json
from typing import Any

from inlay_grammars.options import Whitespace
from inlay_grammars.schemas.enforcement import not_enforced
from inlay_grammars.schemas.exact import narrow
from inlay_grammars.schemas.finite import has_finite_instance
from inlay_grammars.schemas.rewriting import rewrite
from inlay_grammars.schemas.tree import Root
from inlay_grammars.spec import GrammarError, SpecLimits, parse_schema
from inlay_grammars.whitespace import WHITESPACE

_WHITESPACE_OPTIONS: dict[Whitespace, dict[str, Any]] = {
    "flexible": {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE},
    "pretty": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    "compact": {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"},
}


def plain_schema(text: str, limits: SpecLimits) -> Root:
    """The schema in `text`, in keywords that are enforced as far as that is possible.

    Raises:
        GrammarError: as `parse_schema`; or every instance would be infinite.
    """
    schema = parse_schema(text, limits)
    schema.pop("x-guidance", None)  # options of the engine are not the client's to set
    if "properties" in schema:
        schema.setdefault("type", "object")
    rewrite(schema)
    if not has_finite_instance(schema):
        raise GrammarError(
            "no answer is finite: the JSON schema needs an instance of itself inside every instance"
        )
    return schema


def with_options(schema: Root, whitespace: Whitespace, *, is_strict: bool) -> str:
    """The text of a schema as llguidance gets it."""
    options = dict(_WHITESPACE_OPTIONS[whitespace])
    if not is_strict:
        options |= {"lenient": True, "coerce_one_of": True}
    exact = copy.deepcopy(schema)
    narrow(exact)
    return text_of(exact | {"x-guidance": options})


def text_of(schema: Root) -> str:
    """JSON in which characters stand for themselves: xgrammar writes an `enum` as it reads it."""
    text = json.dumps(schema, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, which only an escape can say
        return json.dumps(schema)
    return text


def engine_schema(text: str, limits: SpecLimits, whitespace: Whitespace = "flexible") -> str:
    """The schema in `text`, to stand behind `%json` in a larger grammar.

    Raises:
        GrammarError: as `plain_schema`; or a keyword cannot be enforced.
    """
    schema = plain_schema(text, limits)
    refuse_leniency(schema)
    return with_options(schema, whitespace, is_strict=True)


def refuse_leniency(schema: Root) -> None:
    """Raises GrammarError if llguidance would not enforce a keyword."""
    for path in not_enforced(schema, "llguidance"):
        raise GrammarError(f"{name_of(path)} of the JSON schema cannot be enforced")


def name_of(path: str) -> str:
    """A keyword and its place, for a message."""
    keyword = path.rpartition("/")[2]
    return f"`{keyword}` at `{path}`"
