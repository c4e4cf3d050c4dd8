"""JSON schemas as the engine gets them: with our options, and an object where TGI means one."""

import json

from inlay_grammars.spec import SpecLimits, parse_schema

WHITESPACE = r"[\x20\x0A\x0D\x09]{1,8}"
"""Between JSON tokens. Without a bound a model can write newlines until its budget is gone."""


def engine_schema(text: str, limits: SpecLimits) -> str:
    """The schema in `text`, for a grammar of its own or behind `%json` in a larger one.

    Raises:
        GrammarError: as `parse_schema`.
    """
    schema = parse_schema(text, limits)
    schema.pop("x-guidance", None)  # options of the engine are not the client's to set
    if "properties" in schema:
        schema.setdefault("type", "object")
    options = {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE}
    return json.dumps(schema | {"x-guidance": options})
