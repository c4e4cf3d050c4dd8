"""Grammars for calls, held against llguidance: what may be said, and what must."""

import json
from functools import cache

import pytest
from test_chat_marks import fast_tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.spec import GrammarError, GrammarSpec
from inlay_router.chat.tool_grammar import NO_PARAMETERS, Callee, CallRules, call_grammar
from inlay_router.chat.tool_syntax import NAMED, OBJECT, TAGGED, ToolSyntax, syntax_of
from inlay_router.text.tokenizer import Tokenizer

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"A": {"type": "integer"}},
    }
)
FUNCTIONS = (Callee(name="f", schema=SCHEMA), Callee(name="g.x-1", schema=NO_PARAMETERS))
LISTED = syntax_of("[TOOL_CALLS]")

ONE = {
    "tagged": '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
    "object": '{"name": "f", "parameters": {"a": 1}}',
    "listed": '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}]',
    "named": '[TOOL_CALLS]f[ARGS]{"a": 1}',
}
TWO = {
    "tagged": ONE["tagged"] + '\n<tool_call>{"name": "g.x-1", "arguments": {}}</tool_call>',
    "object": ONE["object"] + '\n{"name": "g.x-1", "arguments": {}}',
    "listed": ONE["listed"][:-1] + ', {"name": "g.x-1", "arguments": {}}]',
    "named": ONE["named"] + "[TOOL_CALLS]g.x-1[ARGS]{}",
}
SYNTAXES = {"tagged": TAGGED, "object": OBJECT, "listed": LISTED, "named": NAMED}


@cache
def compiler() -> GrammarCompiler:
    """For a vocabulary of bytes whose `<|start|>` is special and `<|end|>` ends an answer."""
    fast = fast_tokenizer()
    (end_id,) = fast.encode("<|end|>").ids
    return GrammarCompiler(fast.to_str(), fast.get_vocab_size(), [end_id])


def is_answer(
    text: str, syntax: ToolSyntax, *, is_required: bool = False, is_parallel: bool = True
) -> bool:
    """Whether the grammar takes `text` for a whole answer."""
    tokenizer = Tokenizer(fast_tokenizer().to_str())
    rules = CallRules(functions=FUNCTIONS, is_required=is_required, is_parallel=is_parallel)
    grammar = call_grammar(rules, syntax, tokenizer.special_id)
    matcher = compiler().compile(GrammarSpec("lark", grammar.value)).matcher()
    try:
        matcher.consume(tokenizer.encode(text, add_special_tokens=False))
    except GrammarError:
        return False
    return matcher.is_accepting


@pytest.mark.parametrize("name", SYNTAXES)
def test_text_or_calls(name: str) -> None:
    syntax = SYNTAXES[name]
    for text in ("", "Hello.", '{"a": 1}', ONE[name], TWO[name]):
        assert is_answer(text, syntax), text


@pytest.mark.parametrize("name", SYNTAXES)
def test_calls_alone_where_they_must_be(name: str) -> None:
    syntax = SYNTAXES[name]
    assert is_answer(ONE[name], syntax, is_required=True)
    assert is_answer(TWO[name], syntax, is_required=True)
    assert not is_answer("", syntax, is_required=True)
    assert not is_answer("Hello.", syntax, is_required=True)


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("is_required", [False, True])
def test_one_call_where_there_may_be_no_more(name: str, is_required: bool) -> None:
    syntax = SYNTAXES[name]
    assert is_answer(ONE[name], syntax, is_required=is_required, is_parallel=False)
    assert not is_answer(TWO[name], syntax, is_required=is_required, is_parallel=False)


@pytest.mark.parametrize("name", SYNTAXES)
def test_arguments_that_do_not_satisfy_the_schema(name: str) -> None:
    syntax, call = SYNTAXES[name], ONE[name]
    for wrong in (call.replace("1", '"x"'), call.replace('"a": 1', ""), call.replace("f", "h", 1)):
        assert not is_answer(wrong, syntax, is_required=True), wrong


def test_a_mark_that_is_a_special_token() -> None:
    syntax = ToolSyntax(opening="<|start|>", repeats="list")
    call = '<|start|>[{"name": "f", "arguments": {"a": 1}}]'
    assert is_answer(f"So: {call}", syntax)
    assert is_answer(call, syntax, is_required=True)
    assert not is_answer("<|start|>So", syntax)


def test_a_schema_that_is_none() -> None:
    rules = CallRules(
        functions=[Callee(name="f", schema="[]")], is_required=True, is_parallel=False
    )
    with pytest.raises(GrammarError, match="must be an object"):
        call_grammar(rules, TAGGED, lambda text: None)
