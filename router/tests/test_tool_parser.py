"""Calls are read out of an answer, however it is cut into pieces."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inlay_router.chat.tool_parser import Arguments, CallBegins, Event, Text, ToolParser
from inlay_router.chat.tool_syntax import NAME, NAMED, OBJECT, TAGGED, ToolSyntax, syntax_of

LISTED = syntax_of("[TOOL_CALLS]")
TRICKY = '{"a": "}\\"{", "b": {"c": []}}'

CASES: list[tuple[ToolSyntax, str, str, list[tuple[str, str]]]] = [
    (TAGGED, "", "", []),
    (TAGGED, " Hello <tool_cal", " Hello <tool_cal", []),
    (
        TAGGED,
        f'Let me see.\n<tool_call>\n{{"name": "f", "arguments": {TRICKY}}}\n</tool_call>',
        "Let me see.",
        [("f", TRICKY)],
    ),
    (
        TAGGED,
        '<tool_call>{"name":"f", "arguments":{}}</tool_call>\n'
        '<tool_call>\n{"name": "g.x-1", "arguments": {"a": 1}}\n</tool_call>\n',
        "",
        [("f", "{}"), ("g.x-1", '{"a": 1}')],
    ),
    (OBJECT, '{"answer": 42}', '{"answer": 42}', []),
    (OBJECT, "  plain\n", "  plain\n", []),
    (
        OBJECT,
        f'{{"name": "f", "parameters": {TRICKY}}}\n{{"name": "g", "arguments": {{}}}}',
        "",
        [("f", TRICKY), ("g", "{}")],
    ),
    (
        LISTED,
        f'So: [TOOL_CALLS] [{{"name": "f", "arguments": {TRICKY}}}, '
        '{"name": "g", "arguments": {}}]',
        "So:",
        [("f", TRICKY), ("g", "{}")],
    ),
    (
        NAMED,
        f"[TOOL_CALLS]f[ARGS]{TRICKY}[TOOL_CALLS]g[ARGS]{{}}",
        "",
        [("f", TRICKY), ("g", "{}")],
    ),
    (TAGGED, '<tool_call>{"name": "f", "arguments": {"a": "cut', "", [("f", '{"a": "cut')]),
]


def read(syntax: ToolSyntax, pieces: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """The text and the calls."""
    parser = ToolParser(syntax)
    events: list[Event] = [event for piece in pieces for event in parser.feed(piece)]
    events += parser.end()
    text, calls = "", []
    for event in events:
        match event:
            case Text(words):
                text += words
            case CallBegins(name):
                calls.append((name, ""))
            case Arguments(words):
                calls[-1] = (calls[-1][0], calls[-1][1] + words)
    assert parser.num_calls == len(calls)
    return text, calls


@pytest.mark.parametrize(("syntax", "answer", "text", "calls"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_in_pieces(
    syntax: ToolSyntax, answer: str, text: str, calls: list[tuple[str, str]], size: int
) -> None:
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    assert read(syntax, pieces) == (text, calls)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
"""Strings of it hold quotes, brackets and backslashes."""
CALLS = st.lists(
    st.tuples(st.from_regex(NAME, fullmatch=True), st.dictionaries(st.text(max_size=4), JSON)),
    min_size=1,
    max_size=3,
)


def written(syntax: ToolSyntax, calls: list[tuple[str, str]]) -> str:
    """An answer that makes `calls`, as a model of that syntax writes it."""
    if syntax is NAMED:
        return "".join(f"[TOOL_CALLS]{name}[ARGS]{arguments}" for name, arguments in calls)
    objects = [f'{{"name": "{name}", "arguments": {arguments}}}' for name, arguments in calls]
    match syntax.repeats:
        case "list":
            return f"{syntax.opening}[{', '.join(objects)}]{syntax.closing}"
        case "object":
            return "\n".join(objects)
    return "\n".join(f"{syntax.opening}\n{one}\n{syntax.closing}" for one in objects)


@pytest.mark.parametrize("syntax", [TAGGED, OBJECT, LISTED, NAMED])
@given(calls=CALLS, is_ascii=st.booleans(), data=st.data())
def test_any_split_gives_the_same_calls(
    syntax: ToolSyntax, calls: list[tuple[str, Any]], is_ascii: bool, data: st.DataObject
) -> None:
    made = [(name, json.dumps(value, ensure_ascii=is_ascii)) for name, value in calls]
    answer = written(syntax, made)
    cuts = data.draw(st.sets(st.integers(0, len(answer)), max_size=12))
    places = sorted({0, len(answer), *cuts})
    pieces = [answer[start:stop] for start, stop in pairwise(places)]
    assert read(syntax, pieces) == ("", made)


@pytest.mark.parametrize("syntax", [TAGGED, LISTED, NAMED])
@given(text=st.text("<tol_ca[TOL >\n{}", max_size=30), data=st.data())
def test_text_that_resembles_a_call_is_text(
    syntax: ToolSyntax, text: str, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(text)))
    assume(syntax.opening not in text)
    assert read(syntax, [text[:cut], text[cut:]]) == (text, [])


def test_arguments_come_as_they_are_written() -> None:
    parser = ToolParser(TAGGED)
    list(parser.feed('<tool_call>{"name": "f", "arguments": '))
    assert list(parser.feed('{"a"')) == [Arguments('{"a"')]
    assert list(parser.feed(": 1}")) == [Arguments(": 1}")]


@pytest.mark.parametrize(
    ("template", "syntax"),
    [
        ("{{ '<tool_call>' }}", TAGGED),
        ("[TOOL_CALLS] and [ARGS]", NAMED),
        ("[TOOL_CALLS]", LISTED),
        ("<|python_tag|>", OBJECT),
        ("", OBJECT),
    ],
)
def test_the_syntax_is_told_from_the_template(template: str, syntax: ToolSyntax) -> None:
    assert syntax_of(template) == syntax
