"""Bodies that are too long, not JSON, or of the wrong shape."""

import asyncio
import json
from typing import Any

import pytest
from scripted_router import serve
from starlette.requests import Request

from inlay_router.api.body import MAX_CONTAINERS, MAX_VALUES, parse, read_body
from inlay_router.errors import BadRequest, BodyTooSlow, ValidationError
from inlay_router.schemas import GenerateBody


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", "object missing required field `inputs`"),
        (b"[]", "expected `object`, got `array`"),
        (b'{"inputs":1}', "`inputs`: expected `str`, got `int`. Given: 1"),
        (b'{"inputs":null}', "`inputs`: expected `str`, got `null`. Given: null"),
        (
            b'{"inputs":"x","parameters":[]}',
            "`parameters`: expected `object | null`, got `array`. Given: []",
        ),
        (
            b'{"inputs":"x","parameters":{"top_k":"many"}}',
            '`parameters.top_k`: expected `int | null`, got `str`. Given: "many"',
        ),
        (
            b'{"inputs":"x","parameters":{"top_k":1.5}}',
            "`parameters.top_k`: expected `int | null`, got `float`. Given: 1.5",
        ),
        (
            b'{"inputs":"x","parameters":{"do_sample":1}}',
            "`parameters.do_sample`: expected `bool | null`, got `int`. Given: 1",
        ),
        (
            b'{"inputs":"x","parameters":{"stop":["a",2]}}',
            "`parameters.stop[1]`: expected `str`, got `int`. Given: 2",
        ),
        (
            b'{"inputs":"x","parameters":{"details":"' + b"a" * 100 + b'"}}',
            "`parameters.details`: expected `bool | null`, got `str`. Given: "
            + '"'
            + "a" * 59
            + "…",
        ),
        (
            b'{"inputs":"x","parameters":{"temperature":1e999}}',
            "`parameters.temperature`: number out of range.",
        ),
        (b'{"inputs":1,"x":nonsense', "`inputs`: expected `str`, got `int`."),
        (b'{"inputs":1,"x":' + b"[" * 10_000, "`inputs`: expected `str`, got `int`."),
    ],
)
def test_a_wrong_type_is_named_with_its_path(body: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(body, GenerateBody)
    assert str(caught.value) == f"Input validation error: {sentence}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'{"inputs":"x"',
        b'{"inputs":"x"} x',
        b'{"inputs":"\xff"}',
        b'{"inputs":"\\ud800"}',
        b'{"inputs":"\\ud800\\u0041"}',
        b'\xef\xbb\xbf{"inputs":"x"}',
        b'{"inputs":"x","y":NaN}',
        b'{"inputs":"x","y":' + b"[" * 10_000,
        "{'inputs': 'x'}".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_a_bad_request(body: Any) -> None:
    with pytest.raises(BadRequest, match="Failed to parse the request body as JSON: "):
        parse(body, GenerateBody)


def exchange(body: bytes, headers: list[tuple[bytes, bytes]], **config: Any) -> tuple[int, Any]:
    async def scenario() -> tuple[int, Any]:
        async with serve(**config) as edge:
            call = edge.open("/generate", body, headers=headers)
            await call.task
            return call.status, json.loads(call.text)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON; charset=utf-8",
        b"application/cloudevents+json",
        b"application/json;charset=UTF-8",
    ],
)
def test_json_may_be_declared_in_many_ways(content_type: bytes) -> None:
    status, _ = exchange(b'{"inputs":"x"}', [(b"content-type", content_type)])
    assert status == 200


@pytest.mark.parametrize("content_type", [b"", b"text/plain", b"application/jsonx", b"json"])
def test_anything_else_is_a_415(content_type: bytes) -> None:
    status, body = exchange(b'{"inputs":"x"}', [(b"content-type", content_type)])
    assert status == 415
    assert body == {
        "error": "Expected request with `Content-Type: application/json`",
        "error_type": "unsupported_media_type",
    }


JSON = (b"content-type", b"application/json")


def test_a_compressed_body_is_a_415_that_says_so() -> None:
    status, body = exchange(b"\x1f\x8b", [JSON, (b"content-encoding", b"gzip")])
    assert status == 415
    assert body["error"].endswith("must not be compressed. Given: `Content-Encoding: gzip`")
    assert exchange(b'{"inputs":"x"}', [JSON, (b"content-encoding", b"identity")])[0] == 200


@pytest.mark.parametrize(
    ("headers", "given"),
    [([JSON], "at least 101"), ([JSON, (b"content-length", b"101")], "101")],
)
def test_a_long_body_is_a_413(headers: Any, given: str) -> None:
    status, body = exchange(b"x" * 101, headers, payload_limit=100)
    assert status == 413
    assert body == {
        "error": f"The request body must have at most 100 bytes. Given: {given}",
        "error_type": "payload_too_large",
    }


def test_a_declared_length_is_refused_before_the_body_comes() -> None:
    status, _ = exchange(b"", [JSON, (b"content-length", b"9" * 5000)], payload_limit=100)
    assert status == 413


def test_a_400_has_the_shape_of_tgi() -> None:
    status, body = exchange(b"nonsense", [JSON])
    assert status == 400
    assert body["error_type"] == "bad_request"


def test_a_body_that_does_not_end_is_a_408() -> None:
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Any:
        for part in parts:
            return part
        await asyncio.Event().wait()

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    reading = read_body(Request(scope, receive), GenerateBody, 100, timeout=0.01)
    with pytest.raises(BodyTooSlow, match="must arrive within 0.01 seconds") as caught:
        asyncio.run(reading)
    assert caught.value.status == 408


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"inputs":"x","options":{"a":[' + b"[]," * MAX_CONTAINERS, "100000 arrays and objects"),
        (b'{"inputs":"' + b"{" * (MAX_CONTAINERS + 1), "100000 arrays and objects"),
        (b'{"inputs":"x","parameters":{"stop":[' + b"0," * MAX_VALUES, "1000000 values"),
    ],
)
def test_more_values_than_anybody_needs_are_refused_unread(body: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=f"the body may hold up to {words}. Given: "):
        parse(body, GenerateBody)
