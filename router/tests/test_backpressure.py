"""What a router does with more than it can take: it refuses, in words, and shuts nobody out."""

import asyncio

import pytest
from scripted_router import Edge, eventually, serve
from starlette.routing import Route

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.doors.byte_budget import ByteBudget, ByteShare
from inlay_router.errors import Overloaded
from inlay_router.links.scripted_shard import spell


def test_one_client_with_all_permits_does_not_shut_out_another() -> None:
    """Nor does it keep the other waiting until its own requests have been answered."""
    limits = BatchLimits(max_batch_size=1)

    async def scenario() -> None:
        async with serve(spell("a" * 50), limits=limits, max_concurrent_requests=16) as edge:
            greedy = [edge.open("/generate_stream", {"inputs": "x"}) for _ in range(16)]
            await eventually(lambda: edge.generation.stats.num_waiting == 15)
            late = edge.open("/generate_stream", {"inputs": "x"})
            await late.task
            assert late.status == 429
            modest = edge.open("/generate_stream", {"inputs": "x"}, host="10.0.0.2")
            await modest.task
            assert modest.status == 200
            assert sum(call.task.done() for call in greedy) <= 2
            await asyncio.gather(*(call.task for call in greedy))
            assert all(call.text.count(b"data:") == 51 for call in greedy)

    asyncio.run(scenario())


MESSAGES = [{"role": "user", "content": "x"}]
ROUTES = {
    "/": {"inputs": "x"},
    "/generate": {"inputs": "x"},
    "/generate_stream": {"inputs": "x"},
    "/v1/completions": {"prompt": "x"},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/invocations": {"inputs": "x"},
    "/vertex": {"instances": [{"inputs": "x"}]},
    "/tokenize": {"inputs": "x"},
    "/chat_tokenize": {"messages": MESSAGES},
}


@pytest.mark.parametrize("is_away", [False, True])
def test_a_full_server_says_when_to_come_back_on_every_route(is_away: bool) -> None:
    """Never 503, also while the shards are away: some clients repeat that for ever."""

    async def scenario() -> None:
        async with serve(max_concurrent_requests=1) as edge:
            if is_away:
                await edge.link.die()
                await eventually(lambda: not edge.generation.is_ready)
            else:
                await edge.link.pause()
            first = edge.open("/generate", {"inputs": "x"})
            await eventually(lambda: "1 of 1" in repr(edge.service.permits))
            for path, body in ROUTES.items():
                late = edge.open(path, body)
                await late.task
                assert late.status == 429, path
                assert (b"retry-after", b"1") in late.sent[0]["headers"], path
                assert b"overloaded" in late.text, path
            await edge.link.revive() if is_away else await edge.link.resume()
            await first.task
            assert first.status == 200

    asyncio.run(scenario())


def test_the_table_of_routes_is_complete() -> None:
    async def scenario() -> set[str]:
        async with serve() as edge:
            routes = [route for route in edge.app.routes if isinstance(route, Route)]
            return {route.path for route in routes if "POST" in (route.methods or ())}

    assert asyncio.run(scenario()) == set(ROUTES)


def test_a_prompt_that_makes_the_queue_too_long() -> None:
    limits = BatchLimits(max_waiting_tokens=100)

    async def scenario() -> None:
        async with serve(limits=limits) as edge:
            await edge.link.die()
            await eventually(lambda: not edge.generation.is_ready)
            waiting = [edge.open("/generate", {"inputs": "x" * 45}) for _ in range(2)]
            await eventually(lambda: edge.generation.stats.num_waiting == 2)
            for path in ("/generate", "/generate_stream", "/v1/completions"):
                body = {"prompt" if "v1" in path else "inputs": "x" * 45}
                late = edge.open(path, body)
                await late.task
                assert late.status == 429
                assert (b"retry-after", b"1") in late.sent[0]["headers"]
            await edge.link.revive()
            await asyncio.gather(*(call.task for call in waiting))
            assert [call.status for call in waiting] == [200, 200]

    asyncio.run(scenario())


def test_bodies_that_take_too_much_memory_together() -> None:
    async def scenario() -> None:
        async with serve(spell("a" * 900), max_body_bytes=1000) as edge:
            first = edge.open("/generate_stream", {"inputs": "x" * 700})
            await first.until_sent(2)
            late = edge.open("/generate", {"inputs": "x" * 700})
            await late.task
            assert late.status == 429
            first.leave()
            await first.task
            again = edge.open("/generate", {"inputs": "x" * 700, "parameters": {"stop": ["a"]}})
            await again.task
            assert again.status == 200
            assert edge.service.body_bytes.num_taken == 0

    asyncio.run(scenario())


def test_a_share_is_given_back_whole() -> None:
    budget = ByteBudget(10)
    first, second = ByteShare(budget), ByteShare(budget)
    first.take(6)
    second.take(4)
    with pytest.raises(Overloaded):
        second.take(1)
    assert repr(budget) == "ByteBudget(10 of 10 taken)"
    first.give_back()
    first.give_back()
    assert budget.num_taken == 4


async def _flood(edge: Edge, num_calls: int) -> list[int]:
    calls = [edge.open("/generate_stream", {"inputs": "x" * 20}) for _ in range(num_calls)]
    await asyncio.gather(*(call.task for call in calls))
    return [call.status for call in calls]


def test_a_flood_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with serve(max_concurrent_requests=128) as edge:
            statuses = await _flood(edge, 600)
            assert set(statuses) == {200, 429}
            assert statuses.count(200) >= 128
            assert edge.is_idle()
            assert edge.service.body_bytes.num_taken == 0

    asyncio.run(scenario())
