"""OpenAI's, TGI's and vLLM's ways to ask for a grammar, on chats and completions."""

import json
from typing import Any

import httpx
import pytest
from scripted_router import AcceptingGrammars, post

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import scripted_facts

SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
TEXT = json.dumps(SCHEMA)
LARK = 'start: "a"'
ANY_OBJECT = {"type": "object"}

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"prompt": "Hello"},
}


def facts() -> pb.ModelFacts:
    """A scripted model that knows chats."""
    made = scripted_facts()
    made.chat_template = "{{ messages[0].content }}"
    return made


def ask(path: str, body: dict[str, Any], pool: AcceptingGrammars) -> httpx.Response:
    """The response to one call."""

    whole = ROUTES[path] | {"max_tokens": 2} | body
    return post(path, whole, facts=facts(), grammars=pool)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("asked", "kind", "value"),
    [
        ({"response_format": {"type": "json_object"}}, "json", ANY_OBJECT),
        ({"response_format": {"type": "json_schema", "value": {"schema": SCHEMA}}}, "json", SCHEMA),
        ({"response_format": {"type": "choice", "value": ["yes", "no"]}}, "choice", ["yes", "no"]),
        ({"response_format": {"type": "grammar", "value": LARK}}, "grammar", LARK),
        ({"guided_json": SCHEMA}, "json", SCHEMA),
        ({"guided_json": TEXT}, "json", SCHEMA),
        ({"guided_regex": r"\d+"}, "regex", r"\d+"),
        ({"guided_choice": ["yes", "no"]}, "choice", ["yes", "no"]),
        ({"guided_grammar": LARK}, "grammar", LARK),
        ({"structured_outputs": {"json": SCHEMA}}, "json", SCHEMA),
        ({"structured_outputs": {"json": TEXT, "regex": None}}, "json", SCHEMA),
        ({"structured_outputs": {"json_object": True}}, "json", ANY_OBJECT),
        ({"structured_outputs": {"regex": "a+", "json_object": False}}, "regex", "a+"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, "choice", ["a", "b"]),
        ({"structured_outputs": {"grammar": LARK}}, "grammar", LARK),
        ({"response_format": {"type": "text"}, "guided_regex": "a+"}, "regex", "a+"),
    ],
)
def test_every_way_to_ask(path: str, asked: dict[str, Any], kind: str, value: Any) -> None:
    pool = AcceptingGrammars()
    response = ask(path, asked, pool)
    assert response.status_code == 200, response.text
    (spec,) = pool.specs
    is_json = kind in ("json", "choice")
    assert spec.kind == kind
    assert (json.loads(spec.value) if is_json else spec.value) == value
    if value is SCHEMA:
        assert spec.value.index('"b"') < spec.value.index('"a"')  # their order is meaning


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"guided_json": SCHEMA, "guided_regex": "a"},
            "an answer can be held to one grammar. Given: `guided_json`, `guided_regex`",
        ),
        (
            {"guided_choice": ["a"], "response_format": {"type": "json_object"}},
            "Given: `response_format`, `guided_choice`",
        ),
        (
            {"structured_outputs": {"json": SCHEMA, "regex": "a"}},
            "`structured_outputs` must hold one of `json`, `regex`, `choice`, `grammar` and "
            "`json_object`. Given: `json`, `regex`",
        ),
        ({"structured_outputs": {}}, "`json_object`. Given: none"),
        ({"structured_outputs": {"structural_tag": "x"}}, "unknown field `structural_tag`"),
        ({"guided_decoding_backend": "x"}, "unknown field `guided_decoding_backend`"),
        ({"guided_json": [1]}, "`guided_json`: expected `str | object"),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            "`response_format`: object contains unknown field `schema`",
        ),
        ({"response_format": {"type": "choice"}}, "of type `choice` needs a `value`"),
        ({"response_format": {"type": "grammar", "value": {}}}, "of a grammar must be a string"),
        (
            {"response_format": {"type": "yaml"}},
            "`response_format.type` must be `text`, `json`, `json_schema`, `json_object`, `regex`, "
            "`choice` or `grammar`. Given: `yaml`",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    path: str, asked: dict[str, Any], words: str
) -> None:
    pool = AcceptingGrammars()
    response = ask(path, asked, pool)
    assert response.status_code == 422
    assert words in response.json()["error"]
    assert pool.specs == []


def test_a_completion_has_tgis_field_too() -> None:
    asked = {"grammar": {"type": "regex", "value": "a"}, "guided_regex": "a"}
    response = ask("/v1/completions", asked, AcceptingGrammars())
    assert "Given: `grammar`, `guided_regex`" in response.json()["error"]


def test_tools_hold_the_answer_themselves() -> None:
    asked = {"tools": [], "guided_regex": "a"}
    response = ask("/v1/chat/completions", asked, AcceptingGrammars())
    assert response.json()["error"] == "Tool error: Grammar and tools are mutually exclusive"
