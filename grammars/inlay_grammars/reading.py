"""From what a client wrote to what a backend compiles."""

import json
import re

from llguidance.gbnf_to_lark import gbnf_to_lark, is_lark_syntax

from inlay_grammars.regexes import literal
from inlay_grammars.schema import plain_schema, text_of
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits

_RULE = re.compile(
    r"^\s*[?!]?[\w.-]+(?:\{[^}]*\}|\[[^\]]*\]|\.-?\d+)?\s*(?::(?!:)|::=)", re.MULTILINE
)


def source_of(spec: GrammarSpec, limits: SpecLimits) -> Source:
    """A constraint in one of the backends' languages.

    Raises:
        GrammarError: it is over a limit, or is not what its kind says.
    """
    if spec.kind == "json":
        return Source(
            "json", text_of(plain_schema(spec.value, limits)), spec.whitespace, spec.is_strict
        )
    if spec.kind == "choice":
        return Source("regex", choice_regex(spec.value, limits))
    if spec.kind == "grammar":
        return Source("lark", lark_of(spec.value, limits))
    return Source(spec.kind, spec.value)


def choice_regex(text: str, limits: SpecLimits) -> str:
    """A regex for exactly the strings of a JSON array; one that stands there twice counts once.

    Raises:
        GrammarError: not a list of strings, an empty one, or too long.
    """
    try:
        choices = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        choices = None
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise GrammarError("a choice must be a list of strings")
    if not choices:
        raise GrammarError("a choice needs at least one string")
    if len(choices) > limits.max_alternatives:
        raise GrammarError(
            f"the choice has {len(choices)} strings; the limit is {limits.max_alternatives}"
        )
    return "|".join(map(_literal, dict.fromkeys(choices)))


def _literal(choice: str) -> str:
    try:
        choice.encode()
    except UnicodeEncodeError:
        raise GrammarError("a choice holds a lone surrogate, which is not Unicode") from None
    return literal(choice)


def lark_of(text: str, limits: SpecLimits) -> str:
    """A client's grammar in llguidance's dialect of Lark, to which GBNF is converted.

    Raises:
        GrammarError: there are too many rules, or it is no GBNF.
    """
    num_rules = len(_RULE.findall(text))
    if num_rules > limits.max_rules:
        raise GrammarError(f"the grammar has {num_rules} rules; the limit is {limits.max_rules}")
    if is_lark_syntax(text):
        return text
    try:
        return gbnf_to_lark(text)
    except Exception as error:  # it raises ValueError on purpose, and others not on purpose
        raise GrammarError(f"the grammar is not GBNF: {error}") from None
