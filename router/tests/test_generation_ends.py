"""Streams that do not come to a good end: refused, left, failed, stopped."""

import asyncio

import pytest
from scripted_generation import a_request, finish_of, generate, read, started, within
from scripted_router import eventually

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.generation import Generation
from inlay_router.errors import (
    GenerationFailed,
    IncompleteGeneration,
    Overloaded,
    ValidationError,
)
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import RowFault, ScriptedShard, scripted_facts, spell
from inlay_router.request import Finish, Prompt, Token


def test_behind_a_stop_sequence_nothing_runs_on() -> None:
    async def main() -> None:
        link = ScriptedLink(ScriptedShard(lambda token_ids, num_prompt_tokens: 65))
        async with started(link) as generation:
            request = a_request(max_new_tokens=500, stop=(generation.tokenizer.text(65) * 4,))
            async with generation.stream(request) as stream:
                await eventually(lambda: stream.is_over)
                assert generation.stats.num_blocks_used == 0
                assert len(link.steps) < 10

    asyncio.run(within(main()))


def test_a_client_that_goes_away_costs_nothing() -> None:
    async def main() -> None:
        link = ScriptedLink()
        async with started(link) as generation:
            await link.pause()
            reader = asyncio.create_task(read(generation, a_request()))
            await eventually(lambda: generation.stats.num_blocks_used == 1)
            (sequence_id,) = link.steps[0].rows.sequence_ids
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            assert generation.stats.num_blocks_used == 0
            assert generation.stats.num_running == 0
            await link.resume()
            await read(generation, a_request(max_new_tokens=1))
            (step,) = (step for step in link.steps if step.joining[:1] and step.step_id > 1)
            assert sequence_id in step.leaving_ids
            assert link.shard.held_ids == []

    asyncio.run(within(main()))


def test_a_client_that_goes_away_while_waiting_leaves_the_queue() -> None:
    async def main() -> None:
        link = ScriptedLink()
        async with started(link, BatchLimits(max_batch_size=1)) as generation:
            await link.pause()
            async with generation.stream(a_request()):
                async with generation.stream(a_request()):
                    await eventually(lambda: bool(link.steps))
                    assert generation.stats.num_waiting == 1
                assert generation.stats.num_waiting == 0

    asyncio.run(within(main()))


def test_a_full_queue_is_overloaded() -> None:
    async def main() -> None:
        link = ScriptedLink()
        limits = BatchLimits(max_batch_size=1, max_waiting=1)
        async with started(link, limits) as generation:
            await link.pause()
            async with generation.stream(a_request()):
                await eventually(lambda: bool(link.steps))
                async with generation.stream(a_request()):
                    with pytest.raises(Overloaded):
                        await read(generation, a_request())

    asyncio.run(within(main()))


def test_a_sequence_that_can_never_fit_is_refused_with_the_limit() -> None:
    shard = ScriptedShard(facts=scripted_facts(num_blocks=2, block_size=4))
    assert finish_of(generate(a_request(max_new_tokens=6), shard)).num_generated_tokens == 6
    with pytest.raises(ValidationError, match="must be <= 9. Given: 3 `inputs` tokens and 7 `max"):
        generate(a_request(max_new_tokens=7), shard)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (pb.RowFailure.KIND_INTERNAL, GenerationFailed),
        (pb.RowFailure.KIND_INVALID, ValidationError),
    ],
)
def test_a_failing_row_ends_its_stream_and_no_other(
    kind: pb.RowFailure.Kind, error: type[Exception]
) -> None:
    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if token_ids[0] == 13 and len(token_ids) == num_prompt_tokens + 2:
            raise RowFault(kind, "because")
        return hello(token_ids, num_prompt_tokens)

    async def main() -> None:
        async with started(ScriptedLink(ScriptedShard(choose))) as generation:
            poisoned = a_request(prompt=Prompt(token_ids=(13,)))
            bad, good = await asyncio.gather(
                read(generation, poisoned), read(generation, a_request()), return_exceptions=True
            )
            assert isinstance(bad, error)
            assert "because" in str(bad)
            assert isinstance(good, list)
            assert finish_of(good).generated_text == "Hello, world"

    hello = spell("Hello, world")
    asyncio.run(within(main()))


def test_tokens_before_a_failure_are_read_before_it() -> None:
    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if len(token_ids) == num_prompt_tokens + 2:
            raise RowFault(pb.RowFailure.KIND_INTERNAL, "because")
        return 65

    async def main() -> list[Token | Finish]:
        seen: list[Token | Finish] = []
        async with started(ScriptedLink(ScriptedShard(choose))) as generation:
            with pytest.raises(GenerationFailed):
                async with generation.stream(a_request()) as stream:
                    async for item in stream:
                        seen.append(item)
        return seen

    assert len(asyncio.run(within(main()))) == 2


def test_stopping_ends_every_stream() -> None:
    async def main() -> None:
        link = ScriptedLink()
        generation = Generation(link)
        await generation.start()
        await link.pause()
        reader = asyncio.create_task(read(generation, a_request()))
        await eventually(lambda: bool(link.steps))
        await generation.stop()
        with pytest.raises(IncompleteGeneration):
            await reader
        with pytest.raises(IncompleteGeneration):
            await read(generation, a_request())
        assert not generation.is_ready

    asyncio.run(within(main()))


def test_a_router_fault_ends_the_streams_and_not_the_router() -> None:
    async def main() -> None:
        link = ScriptedLink()
        async with started(link) as generation:
            link.shard.choose = lambda token_ids, num_prompt_tokens: 1 // 0
            with pytest.raises(IncompleteGeneration):
                await read(generation, a_request())
            link.shard.choose = spell("again")
            assert finish_of(await read(generation, a_request())).generated_text == "again"
            assert generation.stats.num_blocks_used == 0

    asyncio.run(within(main()))
