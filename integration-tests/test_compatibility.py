"""The page of compatibility is complete, true to its table, and every row has its test."""

import re
import urllib.request

import msgspec
from compatibility import PAGE, STATES, page, proof_of, rows
from harness import Server, post

from inlay_router.api.operations import OPERATIONS
from inlay_router.completion.body import CompletionBody
from inlay_router.schemas import GenerateParameters


def names() -> set[str]:
    return {row.name for row in rows()}


def test_every_row_is_filled_and_its_test_exists() -> None:
    for row in rows():
        assert row.state in STATES, row
        assert row.name
        assert row.state == "same" or row.note or row.name.startswith("POST /v1"), row
        proof_of(row)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run `make compatibility`"


def test_every_route_and_every_parameter_has_a_row() -> None:
    for operation in OPERATIONS:
        if "{" not in operation.path:
            assert f"{operation.method.upper()} {operation.path}" in names()
    for field in msgspec.structs.fields(GenerateParameters):
        assert field.name in names()
    own = {field.name for field in msgspec.structs.fields(CompletionBody)}
    for name in own:
        assert {name, f"{name} (completions)"} & names(), name


def test_every_metric_of_tgi_is_shown(server: Server) -> None:
    assert post(f"{server.url}/generate", {"inputs": "a", "parameters": {"max_new_tokens": 1}})
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as reply:
        shown = set(re.findall(r"^# TYPE (\w+)", reply.read().decode(), re.MULTILINE))
    assert {name for name in names() if name.startswith("tgi_")} <= shown
