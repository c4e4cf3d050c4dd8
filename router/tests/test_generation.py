"""Generation over a scripted link, from request to Finish."""

import asyncio

from scripted_generation import a_request, finish_of, generate, read, started, tokens_of, within
from scripted_router import eventually

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import ScriptedShard, spell
from inlay_router.request import Finish, FinishReason, Prompt


def test_an_answer_comes_token_by_token_and_ends_with_its_text() -> None:
    items = generate(a_request(), ScriptedShard(spell("Hi é!")))
    finish = finish_of(items)
    assert [token.text for token in tokens_of(items)] == ["H", "i", " ", "", "é", "!", "</s>"]
    assert [token.is_special for token in tokens_of(items)] == [False] * 6 + [True]
    assert finish.generated_text == "Hi é!"
    assert finish.reason is FinishReason.EOS_TOKEN
    assert finish.num_generated_tokens == 7


def test_an_answer_ends_at_its_length() -> None:
    finish = finish_of(generate(a_request(max_new_tokens=3), ScriptedShard(spell("Hello"))))
    assert (finish.reason, finish.generated_text) == (FinishReason.LENGTH, "Hel")


def test_a_character_that_is_never_completed_is_left_out_everywhere() -> None:
    items = generate(a_request(max_new_tokens=3), ScriptedShard(spell("a🙂")))
    assert [token.text for token in tokens_of(items)] == ["a", "", ""]
    assert finish_of(items).generated_text == "a"


def test_an_answer_is_cut_right_behind_a_stop_sequence() -> None:
    items = generate(a_request(stop=("lo, w",)), ScriptedShard(spell("Hello, world")))
    finish = finish_of(items)
    assert (finish.reason, finish.generated_text) == (FinishReason.STOP_SEQUENCE, "Hello, w")
    assert "".join(token.text for token in tokens_of(items)) == "Hello, w"
    assert finish.num_generated_tokens == 8


def test_top_tokens_and_prompt_logprobs_arrive() -> None:
    request = a_request(max_new_tokens=2, top_n_tokens=3, wants_prompt_logprobs=True)
    items = generate(request)
    assert finish_of(items).prompt_logprobs == (None, -1.0, -2.0)
    for token in tokens_of(items):
        assert [top.logprob for top in token.top_tokens] == [-0.5, -1.5, -2.5]
        assert token.top_tokens[0].token_id == token.token_id


def test_prompt_logprobs_of_a_chunked_prompt_are_in_order() -> None:
    async def main() -> Finish:
        limits = BatchLimits(max_batch_prefill_tokens=4)
        prompt = Prompt(token_ids=tuple(range(11)))
        request = a_request(prompt=prompt, max_new_tokens=1, wants_prompt_logprobs=True)
        async with started(ScriptedLink(), limits) as generation:
            return finish_of(await read(generation, request))

    assert asyncio.run(main()).prompt_logprobs == (None, *(-float(i) for i in range(1, 11)))


def test_many_streams_share_steps_and_each_has_its_own_text() -> None:
    def echo(token_ids: list[int], num_prompt_tokens: int) -> int:
        return token_ids[len(token_ids) - num_prompt_tokens]

    async def main() -> None:
        link = ScriptedLink(ScriptedShard(echo))
        async with started(link) as generation:
            prompts = [tuple(range(65 + i, 75 + i)) for i in range(20)]
            requests = [a_request(prompt=Prompt(token_ids=p), max_new_tokens=9) for p in prompts]
            answers = await asyncio.gather(*(read(generation, each) for each in requests))
            for prompt, items in zip(prompts, answers, strict=True):
                assert [token.token_id for token in tokens_of(items)] == list(prompt[:9])
            assert generation.stats.num_tokens == 20 * 9
            assert generation.stats.num_blocks_used == 0
            assert len(link.steps) < 20

    asyncio.run(within(main()))


def test_the_clock_runs_from_submission_to_first_step_to_end() -> None:
    finish = finish_of(generate(a_request(max_new_tokens=1)))
    assert finish.queue_seconds == 1.0
    assert finish.inference_seconds == 1.0


def test_a_reader_that_does_not_read_blocks_nobody() -> None:
    async def main() -> None:
        async with started(ScriptedLink()) as generation:
            async with generation.stream(a_request()) as unread:
                text = finish_of(await read(generation, a_request())).generated_text
                await eventually(lambda: generation.stats.num_running == 0)
                late = [item async for item in unread]
            assert finish_of(late).generated_text == text == "Hello, world"

    asyncio.run(within(main()))


def test_two_steps_are_in_flight_before_a_result_is_back() -> None:
    async def main() -> None:
        link = ScriptedLink()
        async with started(link) as generation:
            await link.pause()
            async with generation.stream(a_request()):
                await eventually(lambda: len(link.steps) == 2)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(link.steps) == 2

    asyncio.run(within(main()))


def test_what_has_come_can_be_taken_at_once() -> None:
    async def main() -> None:
        async with (
            started(ScriptedLink()) as generation,
            generation.stream(a_request()) as stream,
        ):
            first = await anext(stream)
            await eventually(lambda: stream.is_over)
            rest = await stream.read()
            assert [token.text for token in tokens_of([first, *rest])][:3] == ["H", "e", "l"]
            assert finish_of(rest).generated_text == "Hello, world"
            assert await stream.read() == [item async for item in stream] == []

    asyncio.run(within(main()))


def test_a_finish_tells_how_much_of_the_prompt_was_cached() -> None:
    async def main() -> list[int]:
        async with started(ScriptedLink()) as generation:
            request = a_request(prompt=Prompt(token_ids=tuple(range(50))))
            finishes = [finish_of(await read(generation, request)) for _ in range(2)]
            stats = generation.stats
            assert (stats.num_prompt_tokens, stats.num_cached_tokens) == (100, 48)
            assert stats.num_blocks_used == 0 and stats.num_blocks_idle >= 3
            return [finish.num_cached_tokens for finish in finishes]

    assert asyncio.run(within(main())) == [0, 48]


def test_after_a_restart_nothing_is_cached() -> None:
    async def main() -> None:
        link = ScriptedLink()
        async with started(link) as generation:
            request = a_request(prompt=Prompt(token_ids=tuple(range(50))))
            await read(generation, request)
            await link.restart()
            await eventually(lambda: link.num_connects == 2)
            assert finish_of(await read(generation, request)).num_cached_tokens == 0

    asyncio.run(within(main()))
