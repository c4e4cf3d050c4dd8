"""What a client may ask a grammar to be, and the limits that keep it harmless."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from inlay_grammars.options import BackendChoice, Whitespace

GrammarKind = Literal["json", "regex", "choice", "grammar", "lark"]

ALTERNATIVE_KEYWORDS = ("enum", "anyOf", "oneOf", "allOf")


class GrammarError(ValueError):
    """A grammar cannot be used. The message is for the client: what is wrong, limit and value."""


@dataclass(frozen=True, slots=True)
class GrammarSpec:
    """A constraint as the client wrote it; nothing is checked yet."""

    kind: GrammarKind
    """`json`: `value` is the text of a JSON schema. `regex`: the whole answer matches `value`.
    `choice`: `value` is the text of a JSON array of strings, and the answer is one of them.
    `grammar`: `value` is a grammar in llguidance's dialect of Lark, or in GBNF. `lark`: the same
    without GBNF, and with the room that a grammar for tool calls needs; for a program to write."""
    value: str
    is_strict: bool = True
    """Whether a JSON schema that cannot be enforced to the letter is refused."""
    backend: BackendChoice = "auto"
    """Which one is asked first."""
    whitespace: Whitespace = "flexible"
    """Between JSON tokens."""

    def digest(self) -> bytes:
        """Name of this grammar in caches. Property order is meaning, so nothing is normalised."""
        options = f"{self.kind}\0{self.is_strict}\0{self.backend}\0{self.whitespace}"
        text = f"{options}\0{self.value}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecLimits:
    """How large a grammar may be. Each bound is far below what is known to hurt the compiler."""

    max_bytes: int = 256 * 1024
    """UTF-8 bytes of a JSON schema."""
    max_depth: int = 100
    """Nesting of arrays and objects in a JSON schema; the compiler's own parser ends at 125."""
    max_refs: int = 500
    """Different `$ref` targets of a JSON schema; a chain of 1000 overflows the compiler's stack."""
    max_alternatives: int = 10_000
    """Entries of all `enum`, `anyOf`, `oneOf` and `allOf` of a JSON schema together."""
    max_regex_bytes: int = 16 * 1024
    """UTF-8 bytes of a regex."""
    max_choice_bytes: int = 128 * 1024
    """UTF-8 bytes of a list of strings, which may have `max_alternatives` of them."""
    max_grammar_bytes: int = 64 * 1024
    """UTF-8 bytes of a grammar that a client wrote."""
    max_rules: int = 1000
    """Rules of a grammar that a client wrote; a chain of 5000 overflows the compiler's stack."""
    max_lark_bytes: int = 512 * 1024
    """UTF-8 bytes of a Lark grammar, the schemas in it included."""


def check_size(spec: GrammarSpec, limits: SpecLimits) -> None:
    """Refuse what is too long, in the time it takes to measure it.

    Raises:
        GrammarError: the text is too long or is not Unicode.
    """
    name, max_bytes = {
        "json": ("JSON schema", limits.max_bytes),
        "regex": ("regex", limits.max_regex_bytes),
        "choice": ("list of choices", limits.max_choice_bytes),
        "grammar": ("grammar", limits.max_grammar_bytes),
        "lark": ("grammar", limits.max_lark_bytes),
    }[spec.kind]
    try:
        num_bytes = len(spec.value.encode())
    except UnicodeEncodeError:
        raise GrammarError(f"the {name} holds a lone surrogate, which is not Unicode") from None
    if num_bytes > max_bytes:
        raise GrammarError(f"the {name} has {num_bytes} bytes; the limit is {max_bytes}")


def parse_schema(text: str, limits: SpecLimits) -> dict[str, Any]:
    """The JSON schema in `text`, which must be an object and within `limits`.

    A boolean is a JSON schema too, but never what a client of a generation server means.

    Raises:
        GrammarError: not JSON, not an object, or over a limit.
    """
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        message = f"the JSON schema is nested too deeply; the limit is {limits.max_depth} levels"
        raise GrammarError(message) from None
    except json.JSONDecodeError as error:
        raise GrammarError(f"the JSON schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise GrammarError(f"the JSON schema must be an object, not {_json_type(schema)}")
    _check_structure(schema, limits)
    return schema


def _refuse_constant(name: str) -> None:
    raise GrammarError(f"the JSON schema is not JSON: it holds {name}")


def _json_type(value: object) -> str:
    names = {bool: "a boolean", str: "a string", list: "an array", type(None): "null"}
    return names.get(type(value), "a number")


def _check_structure(schema: dict[str, Any], limits: SpecLimits) -> None:
    refs: set[str] = set()
    num_alternatives = 0
    pending: list[tuple[Any, int]] = [(schema, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > limits.max_depth:
            raise GrammarError(
                f"the JSON schema is nested more than {limits.max_depth} levels deep, the limit"
            )
        children = node.values() if isinstance(node, dict) else node
        pending += [(child, depth + 1) for child in children if isinstance(child, (dict, list))]
        if isinstance(node, dict):
            num_alternatives += _num_alternatives(node)
            if isinstance(target := node.get("$ref"), str):
                refs.add(target)
    _check_count("`$ref` targets", len(refs), limits.max_refs)
    _check_count("alternatives", num_alternatives, limits.max_alternatives)


def _num_alternatives(node: dict[str, Any]) -> int:
    lists = (node.get(keyword) for keyword in ALTERNATIVE_KEYWORDS)
    return sum(len(entries) for entries in lists if isinstance(entries, list))


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise GrammarError(f"the JSON schema has {count} {what}; the limit is {limit}")
