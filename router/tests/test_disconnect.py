"""A client that goes away costs nothing, wherever its request stands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from scripted_chats import PIXEL, TOOL
from scripted_router import AcceptingGrammars, Edge, Hanging, eventually, serve

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.generation import Generation
from inlay_router.errors import ValidationError
from inlay_router.links.scripted_shard import scripted_facts, spell
from inlay_router.request import Finish, GenerationRequest, Token

PATHS = ["/generate", "/generate_stream", "/"]


def dropped(edge: Edge) -> float | None:
    labels = {"err": "dropped"}
    return edge.service.metrics.registry.get_sample_value("tgi_request_failure_total", labels)


@pytest.mark.parametrize("path", PATHS)
def test_while_it_generates(path: str) -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 900)) as edge:
            call = edge.open(path, {"inputs": "x", "stream": True})
            await eventually(lambda: edge.generation.stats.num_tokens >= 5)
            await edge.link.pause()
            assert not edge.is_idle()
            call.leave()
            await call.task
            assert edge.is_idle()
            assert dropped(edge) == 1
            await edge.link.resume()
            await edge.open("/generate", {"inputs": "next", "parameters": {"stop": ["a"]}}).task
            assert len(edge.link.shard.held_ids) <= 1

    asyncio.run(scenario())


CALL = '<tool_call>{"name": "f", "arguments": {"a": "'


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize(("tools", "text"), [([], ""), ([TOOL], CALL)])
def test_in_the_middle_of_a_chat(is_streaming: bool, tools: list[Any], text: str) -> None:
    facts = scripted_facts()
    facts.chat_template = "{{ messages[0].content }}{% if tools %}<tool_call>{% endif %}"

    async def scenario() -> None:
        async with serve(
            spell(text + "a" * 900), facts=facts, grammars=AcceptingGrammars()
        ) as edge:
            messages = [{"role": "user", "content": "x"}]
            body = {"messages": messages, "stream": is_streaming, "n": 2, "tools": tools or None}
            call = edge.open("/v1/chat/completions", body)
            await eventually(lambda: edge.generation.stats.num_tokens >= 2 * len(text) + 5)
            await edge.link.pause()
            assert not edge.is_idle()
            call.leave()
            await call.task
            assert bool(call.sent) == is_streaming
            assert edge.is_idle()
            assert dropped(edge) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_the_model_is_away(path: str) -> None:
    async def scenario() -> None:
        async with serve() as edge:
            await edge.link.die()
            call = edge.open(path, {"inputs": "x", "stream": True})
            await eventually(lambda: edge.generation.stats.num_waiting > 0)
            call.leave()
            await call.task
            assert edge.is_idle()

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_it_waits_behind_others(path: str) -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 900), limits=BatchLimits(max_batch_size=1)) as edge:
            first = edge.open("/generate_stream", {"inputs": "x"})
            await first.until_sent(2)
            call = edge.open(path, {"inputs": "x", "stream": True})
            await eventually(lambda: edge.generation.stats.num_waiting == 1)
            call.leave()
            await call.task
            assert edge.generation.stats.num_waiting == 0
            first.leave()
            await first.task
            assert edge.is_idle()

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_in_the_midst_of_its_prefill(path: str) -> None:
    limits = BatchLimits(max_batch_prefill_tokens=16, max_steps_in_flight=1)

    async def scenario() -> None:
        async with serve(limits=limits) as edge:
            call = edge.open(path, {"inputs": "x" * 200, "stream": True})
            await eventually(lambda: edge.generation.stats.num_steps == 3)
            await edge.link.pause()
            stats = edge.generation.stats
            assert (stats.num_tokens, stats.num_running) == (0, 1)
            assert stats.num_blocks_used > 0
            call.leave()
            await call.task
            assert edge.is_idle(), "before any other step"
            num_steps = edge.generation.stats.num_steps
            await edge.link.resume()
            await edge.open("/generate", {"inputs": "y"}).task
            assert not edge.link.steps[num_steps - 1].leaving_ids
            assert edge.link.steps[num_steps].leaving_ids, "the shard is told with the next step"

    asyncio.run(scenario())


async def leave_during(hanging: Hanging, path: str, inputs: str, **request: Any) -> None:
    """The client goes away while its request waits for `hanging`."""
    async with serve(grammars=hanging) as edge:
        call = edge.open(path, {"inputs": inputs, **request})
        await hanging.entered.wait()
        call.leave()
        await call.task
        assert hanging.left.is_set()
        assert call.sent == []
        assert edge.is_idle()
        assert dropped(edge) == 1


@pytest.mark.parametrize("path", PATHS)
def test_while_an_image_is_fetched(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging()
    monkeypatch.setattr("inlay_router.images.fetch.Fetcher.fetch", hanging)
    asyncio.run(leave_during(hanging, path, f"![]({PIXEL})![](http://example.org/a.png)"))


@pytest.mark.parametrize("path", PATHS)
def test_while_its_images_are_prepared(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging()
    monkeypatch.setattr("inlay_router.batching.generation.Generation.prepare", hanging)
    asyncio.run(leave_during(hanging, path, f"![]({PIXEL})"))


@pytest.mark.parametrize("path", PATHS)
def test_while_its_grammar_is_compiled(path: str) -> None:
    parameters = {"grammar": {"type": "regex", "value": "a"}}
    asyncio.run(leave_during(Hanging(), path, "x", parameters=parameters))


def test_without_a_word_and_without_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay_router.sse.SEND_SECONDS", 0.01)
    monkeypatch.setattr("inlay_router.sse.KEEP_ALIVE_SECONDS", 0.01)

    async def scenario() -> None:
        async with serve() as edge:
            call = edge.open("/generate_stream", {"inputs": "x"})
            original = call.send

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    await asyncio.Event().wait()
                await original(message)

            call.send = send  # type: ignore[method-assign]
            await call.task
            assert edge.is_idle()
            assert len(call.sent) == 1

    asyncio.run(scenario())


def test_before_its_body_has_come() -> None:
    async def scenario() -> None:
        async with serve() as edge:
            call = edge.open("/generate", b"")
            call.withdraw_body()
            call.leave()
            await call.task
            assert call.sent == []
            assert dropped(edge) == 1

    asyncio.run(scenario())


def test_one_of_two_sequences_that_fails_ends_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Generation.stream
    num_streams = 0

    def stream(
        self: Generation, request: GenerationRequest, client_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Token | Finish]]:
        nonlocal num_streams
        num_streams += 1
        if num_streams == 2:
            raise ValidationError("the second cannot be")
        return original(self, request, client_id)

    async def scenario() -> None:
        async with serve() as edge:
            parameters = {"best_of": 2, "do_sample": True}
            call = edge.open("/generate", {"inputs": "x", "parameters": parameters})
            await call.task
            assert call.status == 422
            assert edge.is_idle()

    monkeypatch.setattr(Generation, "stream", stream)
    asyncio.run(scenario())


def test_a_neighbour_does_not_notice() -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 200)) as edge:
            calls = [edge.open("/generate_stream", {"inputs": "x" * n}) for n in range(1, 9)]
            for call in calls:
                await call.until_sent(2)
            for call in calls[1:]:
                call.leave()
            await asyncio.gather(*(call.task for call in calls))
            assert calls[0].text.count(b"data: ") == 201
            assert b"a" * 200 in calls[0].text

    asyncio.run(scenario())


def test_a_slow_reader_slows_nobody_and_misses_nothing() -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 200)) as edge:
            slow = edge.open("/generate_stream", {"inputs": "x"})
            original, reads = slow.send, asyncio.Event()

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    await reads.wait()
                await original(message)

            slow.send = send  # type: ignore[method-assign]
            others = [edge.open("/generate_stream", {"inputs": "x" * n}) for n in range(1, 5)]
            await asyncio.gather(*(call.task for call in others))
            assert all(call.text.count(b"data: ") == 201 for call in others)
            await eventually(lambda: edge.generation.stats.num_blocks_used == 0)
            assert len(slow.sent) == 1, "nothing but the head"
            reads.set()
            await slow.task
            assert slow.text.count(b"data: ") == 201
            assert edge.is_idle()

    asyncio.run(scenario())
