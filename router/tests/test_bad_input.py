"""Bad requests get their status and sentence on every route, and disturb nobody."""

import asyncio
from typing import Any

import pytest
from scripted_router import serve

from inlay_grammars.spec import GrammarError, GrammarSpec
from inlay_grammars.verdict import Verdict
from inlay_router.links.scripted_shard import spell

CASES = [
    (422, "validation", {"inputs": ""}, "`inputs` cannot be empty"),
    (422, "validation", {"inputs": 5}, "`inputs`: expected `str`, got `int`. Given: 5"),
    (422, "validation", {}, "object missing required field `inputs`"),
    (
        422,
        "validation",
        {"inputs": "x", "parameters": {"temperature": 0}},
        "`temperature` must be strictly positive. Given: 0.0",
    ),
    (
        422,
        "validation",
        {"inputs": "x" * 1100},
        "`inputs` tokens + `max_new_tokens` must be <= 1024. Given: 1100 `inputs` tokens and 0 "
        "`max_new_tokens`",
    ),
    (
        422,
        "validation",
        {"inputs": "x" * 1024, "parameters": {"max_new_tokens": 1}},
        "`inputs` tokens + `max_new_tokens` must be <= 1024. Given: 1024 `inputs` tokens and 1 "
        "`max_new_tokens`",
    ),
    (
        422,
        "validation",
        {"inputs": "x" * 1024},
        "`inputs` must have less than 1023 tokens. Given: 1024",
    ),
    (
        422,
        "validation",
        {"inputs": "![](file:///a)"},
        "invalid image content: ![](file:///a). An image's address begins with http://, https:// "
        "or data:",
    ),
    (
        422,
        "validation",
        {"inputs": "![](http://169.254.169.254/latest)"},
        "Could not fetch image: its host has no public address",
    ),
    (
        422,
        "validation",
        {"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": "("}}},
        "grammar is not valid: the regex is not closed",
    ),
]


class Pool:
    """Refuses one grammar."""

    async def check(self, spec: GrammarSpec) -> Verdict:
        if spec.value == "(":
            raise GrammarError("the regex is not closed")
        return Verdict()


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/"])
@pytest.mark.parametrize(("status", "kind", "body", "words"), CASES)
def test_a_bad_request_is_told_so_before_anything_is_sent(
    path: str, status: Any, kind: Any, body: Any, words: str
) -> None:
    async def scenario() -> None:
        async with serve(grammars=Pool()) as edge, edge.client as client:
            response = await client.post(path, json={**body, "stream": True})
            assert response.headers["content-type"] == "application/json"
            sentence = f"Input validation error: {words}"
            assert response.json() == {"error": sentence, "error_type": kind}
            assert response.status_code == status
            count = edge.service.metrics.registry.get_sample_value
            assert count("tgi_request_count_total") == 1
            assert count("tgi_request_failure_total", {"err": "validation"}) == 1
            assert count("tgi_request_success_total") == 0
            assert edge.generation.stats.num_steps == 0

    asyncio.run(scenario())


def test_a_grammar_that_passes_goes_to_the_shard() -> None:
    async def scenario() -> None:
        async with serve(grammars=Pool()) as edge, edge.client as client:
            grammar = {"type": "json", "value": {"type": "object"}}
            body = {"inputs": "x", "parameters": {"grammar": grammar}}
            assert (await client.post("/generate", json=body)).status_code == 200
            (joining,) = [joined for step in edge.link.steps for joined in step.joining]
            assert joining.grammar.value == '{"type":"object"}'

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["json", "json_object", "json_schema", "regex", "choice"])
@pytest.mark.parametrize("value", [b'{"\xff":1}', b'{"schema":{"\xff":1}}', b'"\xff"', b'["\xff"]'])
def test_a_grammar_that_is_no_text(kind: str, value: bytes) -> None:
    """What is inside is kept as it came until its kind is known."""

    async def scenario() -> None:
        async with serve(grammars=Pool()) as edge, edge.client as client:
            grammar = b'{"type":"%b","value":%b}' % (kind.encode(), value)
            response = await client.post(
                "/generate",
                content=b'{"inputs":"x","parameters":{"grammar":%b}}' % grammar,
                headers={"content-type": "application/json"},
            )
            assert response.status_code == 422
            assert "grammar is not valid" in response.json()["error"]

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/"])
def test_too_many_requests_are_a_429(path: str) -> None:
    async def scenario() -> None:
        async with serve(max_concurrent_requests=1) as edge, edge.client as client:
            await edge.link.pause()
            first = edge.open("/generate_stream", {"inputs": "x"})
            await first.until_sent(1)
            response = await client.post(path, json={"inputs": "", "stream": True})
            assert response.status_code == 429
            assert response.headers["retry-after"] == "1"
            assert response.json() == {"error": "Model is overloaded", "error_type": "overloaded"}
            await edge.link.resume()
            await first.task
            assert (await client.post(path, json={"inputs": "x"})).status_code == 200

    asyncio.run(scenario())


def test_best_of_takes_a_permit_for_each() -> None:
    async def scenario() -> None:
        async with serve(max_concurrent_requests=1) as edge, edge.client as client:
            parameters = {"best_of": 2, "do_sample": True}
            response = await client.post(
                "/generate", json={"inputs": "x", "parameters": parameters}
            )
            assert response.status_code == 429
            assert repr(edge.service.permits) == "Permits(0 of 1 taken)"

    asyncio.run(scenario())


def test_a_neighbour_is_not_disturbed() -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 100), grammars=Pool()) as edge, edge.client as client:
            alone = await client.post("/generate_stream", json={"inputs": "neighbour"})
            neighbour = edge.open("/generate_stream", {"inputs": "neighbour"})
            for _, _, body, _ in CASES:
                await client.post("/generate_stream", json=body)
            await client.post("/generate", content=b"{")
            await neighbour.task
            assert neighbour.text == alone.content

    asyncio.run(scenario())


def test_a_fault_of_ours_says_nothing_of_our_insides(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serve() as edge:

            def fail(*_: object, **__: object) -> None:
                raise ZeroDivisionError("secret")

            monkeypatch.setattr("inlay_router.admission.validate", fail)
            call = edge.open("/generate", {"inputs": "x"})
            await asyncio.wait([call.task])
            assert isinstance(call.task.exception(), ZeroDivisionError)
            assert call.status == 500
            assert call.text == b'{"error":"Internal server error","error_type":"internal"}'
            assert repr(edge.service.permits) == "Permits(0 of 128 taken)"

    asyncio.run(scenario())


def test_a_fault_of_ours_in_a_stream_is_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serve() as edge:

            def fail(*_: object, **__: object) -> None:
                raise ZeroDivisionError("secret")

            monkeypatch.setattr("inlay_router.sse.TokenFrames.write", fail)
            call = edge.open("/generate_stream", {"inputs": "x"})
            await call.task
            assert call.text == (
                b'data: {"error":"Internal server error","error_type":"internal"}\n\n'
            )

    asyncio.run(scenario())
