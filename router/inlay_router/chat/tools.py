"""Which functions an answer may call, and which it must."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from inlay_grammars.options import Whitespace
from inlay_grammars.spec import GrammarError
from inlay_proto import generate_pb2 as pb
from inlay_router.api.asked_grammar import asked_grammar
from inlay_router.chat.body import ChatBody, Function, Tool
from inlay_router.chat.template import ChatTemplate, Message
from inlay_router.chat.tool_grammar import NO_PARAMETERS, Callee, CallRules, call_grammar
from inlay_router.chat.tool_syntax import NAME, ToolSyntax, syntax_of
from inlay_router.errors import ToolError
from inlay_router.text.tokenizer import Tokenizer

_MAX_TOOLS = 128

_DEFAULT_PROMPT = (
    "\nGiven the functions available, please respond with a JSON for a function call with its "
    "proper arguments that best answers the given prompt. Respond in the format {name: function "
    "name, parameters: dictionary of argument name and its value}.Do not use variables.\n"
)
"""TGI's, for templates that know nothing of tools."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolUse:
    """What a chat may call."""

    tools: tuple[Tool, ...]
    """All that the model is told of."""
    rules: CallRules

    def grammar(
        self, syntax: ToolSyntax, tokenizer: Tokenizer, whitespace: Whitespace
    ) -> pb.Grammar:
        """Holds an answer to the rules. Raises ToolError: a schema is none."""
        try:
            return call_grammar(self.rules, syntax, tokenizer.special_id, whitespace)
        except GrammarError as error:
            raise ToolError(f"the parameters of a function cannot be used: {error}") from None


def tool_use(body: ChatBody) -> ToolUse | None:
    """None when nothing can be called. Raises ToolError."""
    if body.tools is not None and asked_grammar(body) is not None:
        raise ToolError("Grammar and tools are mutually exclusive")
    tools = tuple(body.tools or ())
    choice, name = _choice(body)
    if choice == "none":
        return None
    if not tools:
        if choice == "auto":
            return None
        raise ToolError("`tool_choice` needs `tools`")
    _check(tools)
    callees = [_callee(tool.function) for tool in tools]
    if name is not None:
        callees = [callee for callee in callees if callee.name == name]
        if not callees:
            raise ToolError(f"Tool with name {name} not found")
    rules = CallRules(
        functions=callees,
        is_required=choice == "required",
        is_parallel=name is None and body.parallel_tool_calls is not False,
    )
    return ToolUse(tools=tools, rules=rules)


def _choice(body: ChatBody) -> tuple[str, str | None]:
    """`auto`, `none` or `required`, and the name of the one function to call, if there is one."""
    choice = body.tool_choice
    if choice is None:
        return "auto", None
    if isinstance(choice, str):
        return (choice, None) if choice in ("auto", "none", "required") else ("required", choice)
    name = choice.function.name if choice.function else choice.name
    if name is None:
        raise ToolError("`tool_choice` must be `auto`, `none`, `required` or name a function")
    return "required", name


def _check(tools: tuple[Tool, ...]) -> None:
    if len(tools) > _MAX_TOOLS:
        raise ToolError(f"`tools` supports up to {_MAX_TOOLS} functions. Given: {len(tools)}")
    names = [tool.function.name for tool in tools]
    for tool in tools:
        if tool.type != "function":
            raise ToolError(f"`tools` must be of type `function`. Given: `{tool.type[:40]}`")
    for name in names:
        if not re.fullmatch(NAME, name):
            raise ToolError(
                "names of functions must have 1 to 64 of the characters a-z, A-Z, 0-9, _, -, . "
                f"and :. Given: `{name[:80]}`"
            )
        if names.count(name) > 1:
            raise ToolError(f"two functions have the name {name}")


def _callee(function: Function) -> Callee:
    schema = _parameters(function)
    text = msgspec.json.encode(schema).decode() if schema else NO_PARAMETERS
    return Callee(name=function.name, schema=_object_schema(text))


def _object_schema(text: str) -> str:
    """Arguments are an object, whatever else their schema says or leaves out."""
    schema = msgspec.json.decode(text, type=dict[str, Any])
    return msgspec.json.encode({"type": "object", **schema}).decode()


def _parameters(function: Function) -> dict[str, Any] | None:
    return function.parameters if function.parameters is not None else function.arguments


def described(tools: tuple[Tool, ...]) -> list[dict[str, Any]]:
    """The tools as templates expect them."""
    return [{"type": tool.type, "function": _described(tool.function)} for tool in tools]


def _described(function: Function) -> dict[str, Any]:
    given = {
        "name": function.name,
        "description": function.description,
        "parameters": _parameters(function),
        "strict": function.strict,
    }
    return {key: value for key, value in given.items() if value is not None}


def syntax_for(template: ChatTemplate) -> ToolSyntax:
    """How a model with this template calls functions."""
    return syntax_of(template.source)


def with_tool_prompt(
    messages: list[Message], template: ChatTemplate, tools: Any, prompt: str | None
) -> list[Message]:
    """The messages, the last with what the model must be told of tools beside the template.

    A template that shows the tools needs no more than what the client asks to add.
    """
    if "tools" in template.variables:
        words = "" if prompt is None else f"\n---\n{prompt}"
    else:
        shown = msgspec.json.encode(tools).decode()
        words = f"\n---\n{shown}\n{_DEFAULT_PROMPT if prompt is None else prompt}"
    if not words:
        return messages
    last = messages[-1]
    content = last.get("content", "")
    if isinstance(content, list):
        return [*messages[:-1], {**last, "content": [*content, {"type": "text", "text": words}]}]
    return [*messages[:-1], {**last, "content": content + words}]
