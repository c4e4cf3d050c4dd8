"""Clients that asked for leniency learn what is not enforced, in a header and in details."""

import json
from typing import Any

import httpx
import pytest
from scripted_router import post

from inlay_grammars.spec import GrammarSpec
from inlay_grammars.verdict import Verdict
from inlay_router.grammar_warnings import warning_headers

WARNING = "`uniqueItems` at `/properties/größe\n/uniqueItems`"
NAMED = {"name": "x", "schema": {"type": "array", "uniqueItems": True}, "strict": False}


class Pool:
    """Accepts every grammar, with a warning where it may be lenient."""

    async def check(self, spec: GrammarSpec) -> Verdict:
        """See CompilePool."""
        return Verdict(warnings=() if spec.is_strict else (WARNING,))


def ask(path: str, body: dict[str, Any]) -> httpx.Response:
    """The response to one call."""
    response = post(path, body, grammars=Pool())
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("strict", [False, True, None])
@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_tgis_routes_say_it_in_details_too(path: str, strict: bool | None) -> None:
    grammar = {"type": "json_schema", "value": NAMED | {"strict": strict}}
    parameters = {"grammar": grammar, "details": True, "max_new_tokens": 3}
    response = ask(path, {"inputs": "x", "parameters": parameters})
    last = response.text.rstrip("\n").split("data: ")[-1]
    warnings = [WARNING] if strict is False else None
    assert json.loads(last)["details"].get("grammar_warnings") == warnings
    header = response.headers.get("x-grammar-warnings")
    assert (json.loads(header) if header else None) == warnings


@pytest.mark.parametrize("stream", [False, True])
def test_openais_routes_say_it_in_a_header(stream: bool) -> None:
    format = {"type": "json_schema", "json_schema": NAMED}
    body = {"prompt": ["x", "y"], "max_tokens": 3, "response_format": format, "stream": stream}
    assert json.loads(ask("/v1/completions", body).headers["x-grammar-warnings"]) == [WARNING]


def test_a_header_is_not_too_long_for_proxies() -> None:
    warnings = [f"`not` at `/properties/{index}/not`" for index in range(1000)]
    value = warning_headers(warnings)["x-grammar-warnings"]
    *shown, rest = json.loads(value)
    assert shown == warnings[: len(shown)]
    assert rest == f"and {1000 - len(shown)} more"
    assert 1900 < len(value) < 2100
    assert json.loads(warning_headers(["x" * 5000])["x-grammar-warnings"]) == ["and 1 more"]
    assert warning_headers([]) == {}
