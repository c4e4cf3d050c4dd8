"""A request whose time is over ends, wherever it stands, and costs nothing from then on."""

import asyncio
import json
from typing import Any

import pytest
from scripted_chats import PIXEL
from scripted_router import Edge, Hanging, eventually, serve

from inlay_router.links.scripted_shard import spell

BODIES: dict[str, dict[str, Any]] = {
    "/generate": {"inputs": "x", "parameters": {"max_time": 0.01}},
    "/generate_stream": {"inputs": "x", "parameters": {"max_time": 0.01}},
    "/": {"inputs": "x", "parameters": {"max_time": 0.01}, "stream": True},
    "/v1/completions": {"prompt": "x", "max_time": 0.01, "stream": True, "n": 2},
    "/invocations": {"prompt": "x", "max_time": 0.01},
    "/vertex": {
        "instances": [
            {"inputs": "x", "parameters": {"max_time": 0.01}},
            {"inputs": "x", "parameters": {"max_time": 60}},
        ]
    },
}
WORDS = "took longer than its `max_time` of 0.01 seconds"


def failed(edge: Edge) -> float | None:
    labels = {"err": "timeout"}
    return edge.service.metrics.registry.get_sample_value("tgi_request_failure_total", labels)


@pytest.mark.parametrize("path", BODIES)
def test_while_it_waits_or_generates(path: str) -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 900)) as edge:
            await edge.link.pause()
            call = edge.open(path, BODIES[path])
            await call.task
            assert call.status == (200 if "stream" in path or "stream" in BODIES[path] else 424)
            assert WORDS.encode() in call.text
            await eventually(edge.is_idle)
            assert failed(edge) == 1

    asyncio.run(scenario())


def test_the_error_that_a_client_sees() -> None:
    async def scenario() -> None:
        async with serve(max_time=0.01) as edge:
            await edge.link.die()
            call = edge.open("/generate", {"inputs": "x"})
            await call.task
            error = f"The request {WORDS}"
            assert json.loads(call.text) == {"error": error, "error_type": "timeout"}

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
@pytest.mark.parametrize(
    ("place", "inputs"),
    [
        ("inlay_router.images.fetch.Fetcher.fetch", "![](http://example.org/a.png)"),
        ("inlay_router.batching.generation.Generation.prepare", f"![]({PIXEL})"),
    ],
)
def test_while_an_image_comes(
    path: str, place: str, inputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        hanging = Hanging()
        monkeypatch.setattr(place, hanging)
        async with serve(max_time=0.05) as edge:
            call = edge.open(path, {"inputs": inputs})
            await call.task
            assert hanging.left.is_set()
            assert call.status == 424
            assert edge.is_idle()

    asyncio.run(scenario())


def test_while_its_grammar_is_compiled() -> None:
    async def scenario() -> None:
        hanging = Hanging()
        async with serve(grammars=hanging, max_time=0.05) as edge:
            grammar = {"type": "regex", "value": "a"}
            call = edge.open("/generate", {"inputs": "x", "parameters": {"grammar": grammar}})
            await call.task
            assert hanging.left.is_set()
            assert call.status == 424

    asyncio.run(scenario())


def test_the_smaller_of_both_limits_counts() -> None:
    async def scenario() -> None:
        async with serve(max_time=60.0) as edge:
            await edge.link.pause()
            call = edge.open("/generate", {"inputs": "x", "parameters": {"max_time": 0.02}})
            await call.task
            assert b"of 0.02 seconds" in call.text
        async with serve(max_time=0.02) as edge:
            await edge.link.pause()
            call = edge.open("/generate", {"inputs": "x", "parameters": {"max_time": 60}})
            await call.task
            assert b"of 0.02 seconds" in call.text

    asyncio.run(scenario())


@pytest.mark.parametrize("max_time", [0, -1.5])
def test_a_time_that_is_none(max_time: float) -> None:
    async def scenario() -> None:
        async with serve() as edge:
            body = {"inputs": "x", "parameters": {"max_time": max_time}}
            call = edge.open("/generate", body)
            await call.task
            assert call.status == 422
            assert f"`max_time` must be > 0. Given: {max_time:g}".encode() in call.text

    asyncio.run(scenario())


def test_who_is_in_time_does_not_notice() -> None:
    async def scenario() -> None:
        async with serve(spell("well"), max_time=600.0) as edge:
            call = edge.open("/generate", {"inputs": "x", "parameters": {"max_time": 500}})
            await call.task
            assert json.loads(call.text)["generated_text"] == "well"
            assert edge.is_idle()

    asyncio.run(scenario())
