"""A client that goes away costs nothing, wherever its request stands."""

import asyncio

import pytest

from inlay_router.admission import ValidationError
from inlay_router.links.scripted_shard import spell

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
PATHS = ["/generate", "/generate_stream", "/"]


class Hanging:
    """Something to wait for that never comes, and notices when nobody waits any more."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, *_: object) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    check = __call__


def is_idle(edge) -> bool:
    stats = edge.generation.stats
    is_free = stats.num_blocks_used == stats.num_running == stats.num_waiting == 0
    return is_free and repr(edge.service.permits) == "Permits(0 of 128 taken)"


def dropped(edge) -> float:
    labels = {"err": "dropped"}
    return edge.service.metrics.registry.get_sample_value("tgi_request_failure_total", labels)


@pytest.mark.parametrize("path", PATHS)
def test_while_it_generates(serve, path):
    async def scenario():
        async with serve(spell("a" * 900)) as edge:
            call = edge.open(path, {"inputs": "x", "stream": True})
            while edge.generation.stats.num_tokens < 5:
                await asyncio.sleep(0)
            await edge.link.pause()
            assert not is_idle(edge)
            call.leave()
            await call.task
            assert is_idle(edge)
            assert dropped(edge) == 1
            await edge.link.resume()
            while edge.link.shard.held_ids:
                await asyncio.sleep(0)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_the_model_is_away(serve, path):
    async def scenario():
        async with serve() as edge:
            await edge.link.die()
            call = edge.open(path, {"inputs": "x", "stream": True})
            while not edge.generation.stats.num_waiting:
                await asyncio.sleep(0)
            call.leave()
            await call.task
            assert is_idle(edge)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_an_image_is_fetched(serve, path, monkeypatch):
    async def scenario():
        hanging = Hanging()
        monkeypatch.setattr("inlay_router.fetch.Fetcher.fetch", hanging)
        async with serve() as edge:
            call = edge.open(path, {"inputs": f"![]({PNG})![](http://example.org/a.png)"})
            await hanging.entered.wait()
            call.leave()
            await call.task
            assert hanging.left.is_set()
            assert call.sent == []
            assert is_idle(edge)
            assert dropped(edge) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_its_images_are_prepared(serve, path, monkeypatch):
    async def scenario():
        hanging = Hanging()
        monkeypatch.setattr("inlay_router.generation.Generation.prepare", hanging)
        async with serve() as edge:
            call = edge.open(path, {"inputs": f"![]({PNG})"})
            await hanging.entered.wait()
            call.leave()
            await call.task
            assert hanging.left.is_set()
            assert call.sent == []
            assert is_idle(edge)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_while_its_grammar_is_compiled(serve, path):
    async def scenario():
        hanging = Hanging()
        async with serve(grammars=hanging) as edge:
            grammar = {"type": "regex", "value": "a"}
            call = edge.open(path, {"inputs": "x", "parameters": {"grammar": grammar}})
            await hanging.entered.wait()
            call.leave()
            await call.task
            assert hanging.left.is_set()
            assert call.sent == []
            assert is_idle(edge)

    asyncio.run(scenario())


def test_before_its_body_has_come(serve):
    async def scenario():
        async with serve() as edge:
            call = edge.open("/generate", b"")
            call._inbox.get_nowait()
            call._inbox.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
            call.leave()
            await call.task
            assert call.sent == []
            assert dropped(edge) == 1

    asyncio.run(scenario())


def test_one_of_two_sequences_that_fails_ends_the_other(serve):
    async def scenario():
        async with serve() as edge:
            seeds = []
            original = edge.generation.stream

            def stream(request):
                seeds.append(request.sampling.seed)
                if len(seeds) == 2:
                    raise ValidationError("the second cannot be")
                return original(request)

            edge.generation.stream = stream
            parameters = {"best_of": 2, "do_sample": True}
            call = edge.open("/generate", {"inputs": "x", "parameters": parameters})
            await call.task
            assert call.status == 422
            assert is_idle(edge)

    asyncio.run(scenario())


def test_a_neighbour_does_not_notice(serve):
    async def scenario():
        async with serve(spell("a" * 200)) as edge:
            calls = [edge.open("/generate_stream", {"inputs": "x" * n}) for n in range(1, 9)]
            for call in calls:
                await call.until(lambda call=call: len(call.bodies) > 0)
            for call in calls[1:]:
                call.leave()
            await asyncio.gather(*(call.task for call in calls))
            assert calls[0].text.count(b"data: ") == 201
            assert b"a" * 200 in calls[0].text

    asyncio.run(scenario())
