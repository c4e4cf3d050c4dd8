"""A grammar for answers that may, or must, call functions: one generation decides and writes both.

The arguments of a call always satisfy the schema of its function; each schema is a document of its
own in the grammar, so its `$ref`s mean what they meant to the client.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inlay_grammars.options import Whitespace
from inlay_grammars.schema import engine_schema
from inlay_grammars.spec import SpecLimits
from inlay_proto import generate_pb2 as pb
from inlay_router.chat.tool_syntax import ToolSyntax

_ANYTHING = r"(.|\n)*"
NO_PARAMETERS = '{"type":"object","properties":{},"additionalProperties":false}'
"""The schema of a function without parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Callee:
    """A function that may be called."""

    name: str
    schema: str
    """Text of the JSON schema of its arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRules:
    """Which calls an answer holds."""

    functions: Sequence[Callee]
    is_required: bool
    """Whether the answer is calls alone; else it may be text, or text and calls."""
    is_parallel: bool
    """Whether it may hold more than one call."""


def call_grammar(
    rules: CallRules,
    syntax: ToolSyntax,
    special_id: Callable[[str], int | None],
    whitespace: Whitespace = "flexible",
) -> pb.Grammar:
    """Lark for `rules`; `special_id` is the id of a text that is one special token, else None.

    Raises GrammarError: a schema is over a limit, or none.
    """
    lark = _Writer(rules, syntax, special_id, whitespace).write()
    return pb.Grammar(kind=pb.Grammar.KIND_LARK, value=lark)


class _Writer:
    """Writes one grammar."""

    def __init__(
        self,
        rules: CallRules,
        syntax: ToolSyntax,
        special_id: Callable[[str], int | None],
        whitespace: Whitespace,
    ) -> None:
        self._rules = rules
        self._syntax = syntax
        self._special_id = special_id
        self._whitespace: Whitespace = whitespace

    def write(self) -> str:
        start = self._required() if self._rules.is_required else self._free()
        calls = [self._call(index) for index in range(len(self._rules.functions))]
        names = " | ".join(f"call_{index}" for index in range(len(calls)))
        return "\n".join([*start, *self._group(), f"call: {names}", *calls, ""])

    def _required(self) -> list[str]:
        opened = f"{self._mark(self._syntax.opening)} calls"
        more = f" (/\\s?/ {opened})*" if self._repeats_opening else ""
        return [f"start: {opened}{more}"]

    def _free(self) -> list[str]:
        """Text, in which an opening begins calls; without an opening, text or calls."""
        syntax = self._syntax
        if not syntax.opening:
            return ["start: TEXT | calls", f"TEXT: {_without(syntax.before_name, at_start=True)}"]
        start = "start: TEXT | opened"
        if syntax.repeats == "opening":
            start = f"start: opened{'*' if self._rules.is_parallel else '?'} TEXT"
        if self._special_id(syntax.opening) is not None:
            mark = self._mark(syntax.opening)
            return [start, f"opened: TEXT {mark} calls", f"TEXT: /{_ANYTHING}/"]
        return [
            start,
            "opened: opening calls",
            "opening[lazy]: OPENING",
            f"OPENING: /{_ANYTHING}/ {json.dumps(syntax.opening)}",
            f"TEXT: {_without(re.escape(syntax.opening))}",
        ]

    @property
    def _repeats_opening(self) -> bool:
        return self._rules.is_parallel and self._syntax.repeats == "opening"

    def _group(self) -> list[str]:
        """All calls behind one opening."""
        closing = self._mark(self._syntax.closing)
        is_parallel = self._rules.is_parallel
        match self._syntax.repeats:
            case "list":
                more = " (/ ?, ?/ call)*" if is_parallel else ""
                return [f"calls: /\\s?\\[/ call{more} /\\s?\\]/ {closing}"]
            case "object":
                more = " (/[;,]?\\s{1,2}/ call)*" if is_parallel else ""
                return [f"calls: call{more}"]
        return [f"calls: call {closing}"]

    def _call(self, index: int) -> str:
        syntax, function = self._syntax, self._rules.functions[index]
        head = _slashed(f"{syntax.before_name}{re.escape(function.name)}{syntax.behind_name}")
        schema = engine_schema(function.schema, SpecLimits(), self._whitespace)
        behind = f"/{syntax.behind_arguments}/" if syntax.behind_arguments else ""
        mark = self._mark(syntax.arguments_mark)
        return f"call_{index}: /{head}/ {mark} %json {schema} {behind}"

    def _mark(self, text: str) -> str:
        if not text:
            return ""
        token_id = self._special_id(text)
        return json.dumps(text) if token_id is None else f"<[{token_id}]>"


def _without(regex: str, *, at_start: bool = False) -> str:
    """A terminal for any text in which `regex` matches nowhere, or not at the start."""
    before = "" if at_start else _ANYTHING
    return f"/{_ANYTHING}/ & ~/{before}{_slashed(regex)}{_ANYTHING}/"


def _slashed(regex: str) -> str:
    return regex.replace("/", "\\/")
