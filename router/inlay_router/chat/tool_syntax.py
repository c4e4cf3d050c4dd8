"""How models write calls of functions: the syntaxes known here, and the one a template teaches."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

NAME = r"[A-Za-z0-9_.:-]{1,64}"
"""Names of functions."""


@dataclass(frozen=True, kw_only=True)
class ToolSyntax:
    r"""What stands around the name and the arguments of a call.

        opening before_name NAME behind_name ARGUMENTS behind_arguments closing

    `before_name`, `behind_name` and `behind_arguments` are regexes; the others are texts, each
    perhaps one special token.
    """

    opening: str = ""
    """Begins a call, or a list of them; empty where an answer that is an object is a call."""
    before_name: str = r"\s?\{ ?\"name\" ?: ?\""
    behind_name: str = r"\" ?, ?\"arguments\" ?: ?"
    arguments_mark: str = ""
    """A text behind `behind_name`."""
    behind_arguments: str = r"\s?\}"
    closing: str = ""
    repeats: Literal["opening", "list", "object"] = "opening"
    """How another call follows: with an opening of its own, in a JSON list, or as one more object
    behind the first."""

    @cached_property
    def head(self) -> re.Pattern[str]:
        """Matches a call up to its arguments, and captures the name."""
        mark = re.escape(self.arguments_mark)
        return re.compile(f"{self.before_name}({NAME}){self.behind_name}{mark}")

    @property
    def marks(self) -> frozenset[str]:
        """Texts that may be special tokens."""
        return frozenset(filter(None, (self.opening, self.arguments_mark, self.closing)))


TAGGED = ToolSyntax(opening="<tool_call>", behind_arguments=r"\s?\}\s?", closing="</tool_call>")
"""Hermes, Qwen and many others: `<tool_call>{"name": …, "arguments": …}</tool_call>`."""

OBJECT = ToolSyntax(behind_name=r"\" ?, ?\"(?:parameters|arguments)\" ?: ?", repeats="object")
"""Llama 3, and models without a syntax of their own: `{"name": …, "parameters": …}`."""

NAMED = ToolSyntax(
    opening="[TOOL_CALLS]",
    before_name="",
    behind_name="",
    arguments_mark="[ARGS]",
    behind_arguments="",
)
"""Mistral since version 11 of its tokenizer: `[TOOL_CALLS]name[ARGS]{…}`."""


def _listed(opening: str, closing: str = "") -> ToolSyntax:
    """`[{"name": …, "arguments": …}, …]` behind a mark: Mistral, Granite, Phi-4."""
    return ToolSyntax(opening=opening, closing=closing, repeats="list")


def syntax_of(template: str) -> ToolSyntax:
    """The syntax that a chat template writes earlier calls in; OBJECT if none is recognised."""
    if "[TOOL_CALLS]" in template:
        return NAMED if "[ARGS]" in template else _listed("[TOOL_CALLS]")
    if "<|tool_call|>" in template:
        has_end = "<|/tool_call|>" in template
        return _listed("<|tool_call|>", "<|/tool_call|>" if has_end else "")
    return TAGGED if "<tool_call>" in template else OBJECT
